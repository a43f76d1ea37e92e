"""What a process remembers of the pushes that it has just written, and what it leaves to be read."""

from collections.abc import Iterable

from plaudit.adapters.cassandra.fresh import KEEP_US, Fresh, Known, known_push
from plaudit.adapters.cassandra.pushes import SHARDS, _by_partition, new_line
from plaudit.adapters.cassandra.statements import BATCH_BYTES, PARTITIONS, Write, _batches
from tests.support.notifying import message

START_US = 1_000_000_000


def known(*names: str, at: int = START_US) -> list[Known]:
    return [known_push(new_line(message(name), "webhook", "", at), message(name)) for name in names]


def names(found: Iterable[Known]) -> list[str]:
    return [its.message.id for its in found]


def ours(most: int = 100) -> Fresh:
    fresh = Fresh(most)
    fresh.hold(range(SHARDS))
    return fresh


def test_what_was_written_is_taken_once_and_the_oldest_first() -> None:
    fresh = ours()
    old, new = known("old"), known("new", at=START_US + 5)
    for its in (new, old):
        fresh.writing(its)
        fresh.written(its)
    assert names(fresh.take("webhook", START_US - 1, 9)) == []
    assert names(fresh.take("fcm", START_US + 5, 9)) == []
    [first] = fresh.take("webhook", START_US + 5, 1)
    assert first == old[0]
    fresh.give_back([first])
    assert names(fresh.take("webhook", START_US + 5, 9)) == ["old", "new"]
    assert names(fresh.take("webhook", START_US + 5, 9)) == []


def test_what_is_being_written_is_neither_taken_nor_read() -> None:
    fresh, its = ours(), known("a")
    fresh.writing(its)
    assert its[0].line.place in fresh
    assert names(fresh.take("webhook", START_US, 9)) == []
    fresh.failed(its)
    assert its[0].line.place not in fresh


def test_more_than_it_holds_is_left_to_be_read() -> None:
    fresh, its = ours(most=2), known("a", "b", "c")
    fresh.writing(its)
    fresh.written(its)
    assert [each.line.place in fresh for each in its] == [True, True, False]
    assert names(fresh.take("webhook", START_US, 9)) == sorted(["a", "b"], key=lambda n: known(n)[0].line.no)


def test_what_waited_long_or_is_of_another_is_left_to_be_read() -> None:
    fresh, its = ours(), known("a")
    fresh.written(its)
    assert fresh.take("webhook", START_US + KEEP_US, 9) == []
    assert its[0].line.place not in fresh
    fresh.hold(range(1, SHARDS))
    fresh.written(its)
    assert (its[0].line.place in fresh) == (its[0].line.place.shard > 0)


def test_of_a_shard_that_was_lost_nothing_is_known_when_it_is_back() -> None:
    fresh, its = ours(), known(*(f"m{n}" for n in range(40)))
    fresh.written(its)
    kept = [each for each in its if each.line.place.shard != 3]
    fresh.hold([shard for shard in range(SHARDS) if shard != 3])
    fresh.hold(range(SHARDS))
    assert [each.line.place in fresh for each in its] == [each in kept for each in its]
    assert sorted(names(fresh.take("webhook", START_US, 99))) == sorted(names(kept))
    assert 0 < len(kept) < len(its)


def test_what_is_given_back_of_a_shard_that_was_lost_meanwhile_is_left_to_be_read() -> None:
    fresh, its = ours(), known(*(f"m{n}" for n in range(40)))
    fresh.written(its)
    taken = fresh.take("webhook", START_US, 99)
    fresh.hold([shard for shard in range(SHARDS) if shard != 3])
    fresh.give_back(taken)
    fresh.hold(range(SHARDS))
    kept = [each for each in its if each.line.place.shard != 3]
    assert 0 < len(kept) < len(its)
    assert sorted(names(fresh.take("webhook", START_US, 99))) == sorted(names(kept))
    assert not any(each.line.place in fresh for each in its)


def test_writes_travel_together_as_far_as_cassandra_likes() -> None:
    small: list[list[Write]] = [[("q", n, "x")] for n in range(2 * PARTITIONS + 1)]
    assert [len(batch) for batch in _batches(small)] == [PARTITIONS, PARTITIONS, 1]
    big: list[list[Write]] = [
        [("q", b"x" * BATCH_BYTES)],
        [("q", "y")],
        [("q", "y")],
        [("q", b"x" * BATCH_BYTES)],
    ]
    assert [len(batch) for batch in _batches(big)] == [1, 2, 1]
    assert list(_batches([])) == []


def test_writes_to_one_partition_are_never_parted() -> None:
    """And count as one, however many and however big."""
    pairs: list[list[Write]] = [[("q", n), ("r", n)] for n in range(PARTITIONS + 1)]
    assert [len(batch) for batch in _batches(pairs)] == [2 * PARTITIONS, 2]
    big: list[list[Write]] = [[("q", 1)], [("q", 2), ("r", 2, b"x" * BATCH_BYTES)], [("q", 3)]]
    assert [len(batch) for batch in _batches(big)] == [1, 2, 1]


def test_pushes_of_one_partition_are_written_together() -> None:
    places = [its.line.place for its in known(*(f"m{n}" for n in range(40)))]
    groups = [*_by_partition(("q", *place) for place in places)]
    assert sum(map(len, groups)) == 40
    assert len({write[1:4] for group in groups for write in group}) == len(groups)
    assert all(len({write[1:4] for write in group}) == 1 for group in groups)
