"""What each error of the driver means: the one place where they cross into Plaudit's words.

For a read it does not matter: nothing is known, `Unavailable`. For a write it is everything: did nothing happen, or may
it have? `NOTHING_HAPPENED` lists the errors that come before a write is begun; whatever is not in it is unknown. It
errs towards unknown on purpose: an unknown outcome is settled, a false refusal is a tap that is stored after all.
"""

from plaudit.domain.errors import OutcomeUnknown, Unavailable

# Names of acsylla.errors. Server errors are raised by the coordinator before it executes; the others before sending.
NOTHING_HAPPENED = frozenset(
    {
        "CassErrorServerBadCredentials",
        "CassErrorServerIsBootstrapping",
        "CassErrorServerSyntaxError",
        "CassErrorServerUnauthorized",
        "CassErrorServerInvalidQuery",
        "CassErrorServerConfigError",
        "CassErrorServerUnprepared",
        "CassExceptionInvalidQuery",
        "CassExceptionSyntaxError",
        "CassExceptionConnectionError",  # no session could be made
        "CassErrorLibBadParams",
        "CassErrorLibHostResolution",
        "CassErrorLibIndexOutOfBounds",
        "CassErrorLibInvalidCustomType",
        "CassErrorLibInvalidItemCount",
        "CassErrorLibInvalidStatementType",
        "CassErrorLibInvalidValueType",
        "CassErrorLibMessageEncode",
        "CassErrorLibNameDoesNotExist",
        "CassErrorLibNoAvailableIoThread",
        "CassErrorLibNoHostsAvailable",
        "CassErrorLibNoStreams",
        "CassErrorLibParameterUnset",
        "CassErrorLibRequestQueueFull",
        "CassErrorLibUnableToConnect",
        "CassErrorLibUnableToDetermineProtocol",
        "CassErrorLibUnableToInit",
        "CassErrorLibUnableToSetKeyspace",
    }
)
# Too few replicas. Said before the first step of Paxos it names SERIAL, and nothing was proposed; said about the commit
# it names QUORUM, and the proposal is decided.
_TOO_FEW = "CassErrorServerUnavailable"


def read_failed(error: Exception) -> Unavailable:
    """What a failed read means."""
    return Unavailable(f"Cassandra could not be read: {_words(error)}")


def write_failed(error: Exception) -> Unavailable | OutcomeUnknown:
    """What a failed write means."""
    name = type(error).__name__
    if name in NOTHING_HAPPENED or (name == _TOO_FEW and "SERIAL" in str(error)):
        return Unavailable(f"Cassandra did not begin the write: {_words(error)}")
    return OutcomeUnknown(f"Cassandra did not confirm the write: {_words(error)}")


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
