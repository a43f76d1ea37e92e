"""What each error of the driver means: the one place where they cross into Plaudit's words."""

from confluent_kafka import KafkaError, KafkaException

from plaudit.domain.errors import Conflict, OutcomeUnknown, Unavailable

# Errors after which an event is not in the log and will not be; whatever is not here may be.
NOTHING_HAPPENED = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.INVALID_REQUIRED_ACKS,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError._QUEUE_FULL,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
    }
)

# What a reader is told although the driver mends it by itself: connections that come and go, and a place in the group
# that was lost and is asked for again.
PASSING = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError._AUTO_OFFSET_RESET,
    }
)


def write_failed(error: KafkaError) -> Unavailable | OutcomeUnknown:
    """What an error means for the event that was to be appended."""
    if error.code() in NOTHING_HAPPENED:
        return Unavailable(f"Kafka does not have the event: {words(error)}")
    return OutcomeUnknown(f"Kafka did not confirm the event: {words(error)}")


def read_failed(error: KafkaError) -> Unavailable | Conflict:
    """What an error means for whoever reads: ask again, or never again with this client."""
    if error.fatal():
        return Conflict(f"Kafka has shut this reader out: {words(error)}")
    return Unavailable(f"Kafka could not be read: {words(error)}")


def of(error: KafkaException) -> KafkaError:
    """The error that an exception of the driver carries."""
    found = error.args[0]
    return found if isinstance(found, KafkaError) else KafkaError(KafkaError._FAIL, str(found))


def words(error: KafkaError) -> str:
    """What to say of it."""
    return f"{error.name()}: {error.str()}"
