"""What the doctor says of workers that are behind."""

import pytest

from plaudit.adapters.kafka import Lag
from plaudit.doctor_engines import behind

ONE_IS_STUCK = {
    **dict.fromkeys(range(500), Lag(0, 0.0)),
    7: Lag(1_234, 61.0),
    8: Lag(20, 0.2),
    9: Lag(30, 0.1),
    10: Lag(2, 0.3),
}


@pytest.mark.parametrize(
    ("role", "status", "advice"),
    [
        ("index", "fault", ": is one running? Start more of them, up to one per partition"),
        ("flush", "ok", ""),
    ],
)
def test_the_partitions_that_are_furthest_behind_are_named(role: str, status: str, advice: str) -> None:
    finding = behind(role, ONE_IS_STUCK)
    assert (finding.check, finding.state) == (f"worker {role}", status)
    assert finding.detail == (
        "1,286 events and 61 s behind, in 4 of 500 partitions, most in 7 (1,234, 61 s), 10 (2, 0 s), 8 (20, 0 s)"
        + advice
    )


def test_of_one_partition_or_of_none_there_is_nothing_to_name() -> None:
    assert behind("index", {0: Lag(3, 1.0)}).detail == "3 events and 1 s behind"
    assert behind("index", {0: Lag(0, 0.0), 1: Lag(0, 0.0)}).detail == "0 events and 0 s behind"
