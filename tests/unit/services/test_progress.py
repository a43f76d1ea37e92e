"""How far a partition is, and from where its work is done again."""

from plaudit.ports.consumer import Claim, Mark, Record
from plaudit.services.progress import Progress


def record(offset: int, at_us: int = 0) -> Record:
    return Record(0, 1, offset, at_us, None, b"")


def handle(progress: Progress, offset: int, now_s: float, at_us: int = 0) -> Mark | None:
    progress.read(record(offset, at_us))
    progress.handled(record(offset, at_us))
    return progress.mark(now_s, None)


def test_without_a_delay_the_mark_is_the_work() -> None:
    progress = Progress(Claim(1, 5), 0)
    assert progress.mark(0, None) == Mark(5, 5)
    assert handle(progress, 5, 0) == Mark(6, 6)
    assert handle(progress, 6, 0) == Mark(7, 7)


def test_a_new_group_has_nothing_to_mark_until_it_has_read() -> None:
    progress = Progress(Claim(1, None), 60)
    assert progress.mark(0, None) is None
    assert handle(progress, 40, 0) == Mark(40, 41)


def test_the_mark_follows_the_work_at_a_distance_in_time() -> None:
    progress = Progress(Claim(1, 0), 60)
    marks = [handle(progress, second, second) for second in range(200)]
    assert marks[59] == Mark(0, 60)
    for second in range(61, 200):
        assert marks[second] == Mark(second - 60 + 1, second + 1)


def test_the_mark_catches_up_when_nothing_comes_any_more() -> None:
    progress = Progress(Claim(1, 0), 60)
    for offset in range(10):
        handle(progress, offset, offset / 100)
    for second in range(1, 61):
        assert progress.mark(second, None) == Mark(0 if second < 60 else 1, 10)
    assert progress.mark(62, None) == Mark(10, 10)


def test_trouble_holds_the_mark_where_it_was_before() -> None:
    progress = Progress(Claim(1, 0), 60)
    for second in range(100):
        handle(progress, second, second)
    for second in range(100, 400):
        assert progress.mark(second, 100) == Mark(41, 100)
    assert progress.back(100) == 41


def test_repeated_work_counts_from_when_it_was_repeated() -> None:
    progress = Progress(Claim(1, 0), 60)
    for second in range(100):
        handle(progress, second, second)
    assert progress.back(100) == 41
    progress.rewind(41)
    assert progress.mark(120, None) == Mark(41, 41)
    for offset in range(41, 100):
        handle(progress, offset, 121)
    assert progress.mark(122, None) == Mark(41, 100)
    assert progress.back(122) == 41, "what was repeated a second ago may be lost again"
    assert progress.mark(183, None) == Mark(100, 100)


def test_nothing_is_reached_before_something_is_known() -> None:
    progress = Progress(Claim(1, 5), 0)
    assert progress.reached_us is None
    progress.ends(6, 50_000_000)
    assert progress.reached_us is None, "a record waits, who knows since when"
    unknown = Progress(Claim(1, None), 0)
    unknown.ends(6, 50_000_000)
    assert unknown.reached_us is None, "a new group has everything before it"


def test_an_idle_partition_is_reached_up_to_when_it_was_looked_at() -> None:
    progress, empty = Progress(Claim(1, 5), 0), Progress(Claim(1, None), 0)
    for now_us in (50_000_000, 55_000_000):
        progress.ends(5, now_us)
        empty.ends(0, now_us)
        assert progress.reached_us == now_us - 1000
        assert empty.reached_us == now_us - 1000, "never written"
    progress.ends(6, 60_000_000)
    assert progress.reached_us == 55_000_000 - 1000


def test_what_was_handled_is_reached_but_for_its_millisecond() -> None:
    progress = Progress(Claim(1, 0), 0)
    progress.read(record(0, 7_000_000))
    assert progress.reached_us is None, "in hand is not handled"
    progress.handled(record(0, 7_000_000))
    assert progress.reached_us == 7_000_000 - 1000


def test_going_back_takes_back_what_was_reached() -> None:
    progress = Progress(Claim(1, 0), 60)
    for second in range(100):
        handle(progress, second, second, at_us=(1000 + second) * 1_000_000)
    assert progress.reached_us == 1_099_000_000 - 1000
    assert progress.back(100) == 41
    progress.ends(100, 1_200_000_000)
    progress.rewind(41)
    assert progress.reached_us == 1_040_000_000 - 1000, "of the newest before the position"
    progress.ends(100, 1_201_000_000)
    assert progress.reached_us == 1_040_000_000 - 1000
    handle(progress, 41, 121, at_us=1_041_000_000)
    assert progress.reached_us == 1_041_000_000 - 1000


def test_going_back_to_the_beginning_leaves_nothing_reached() -> None:
    progress = Progress(Claim(1, 0), 60)
    handle(progress, 0, 1, at_us=7_000_000)
    assert progress.back(2) == 0
    progress.rewind(0)
    assert progress.reached_us is None


def test_the_lag_is_the_age_of_the_oldest_unhandled_record() -> None:
    progress = Progress(Claim(1, 0), 0)
    progress.ends(3, 100_000_000)
    assert progress.lag_s(3, 100_000_000) == 0.0
    assert progress.lag_s(3, 107_000_000) == 7.0, "not read yet: since we know of it"
    progress.read(record(0, 40_000_000))
    progress.read(record(1, 41_000_000))
    assert progress.lag_s(3, 107_000_000) == 67.0
    progress.handled(record(1, 41_000_000))
    progress.read(record(2, 105_000_000))
    assert progress.lag_s(3, 107_000_000) == 2.0
    progress.handled(record(2, 105_000_000))
    assert progress.lag_s(3, 107_000_000) == 0.0
    progress.ends(3, 3_000_000_000)
    progress.ends(4, 3_005_000_000)
    assert progress.lag_s(4, 3_006_000_000) == 6.0, "a quiet hour before an event is not a lag"
