"""A quarter of a minute of the long run (`make soak`): two kills, and what clients know is exactly what is stored."""

from pathlib import Path

import pytest
import uvloop

from benchmarks.soak import Plan, soak


@pytest.mark.timeout(240)
def test_a_quarter_of_a_minute_of_taps_and_kills_is_exact(tmp_path: Path) -> None:
    plan = Plan(seconds=15, kill_every_s=6, connections=64, peak_s=3)
    found = uvloop.run(soak(tmp_path / "data", plan))
    print(found.summary())  # noqa: T201 - the figures, for whoever runs it with -s
    for verdict in found.flat:  # too short to judge
        print(verdict.line())  # noqa: T201 - as above
    assert [verdict.line() for verdict in found.exact if not verdict.held] == []
    assert len(found.kills) == 2
    assert found.interrupted > 0, "the kills interrupted nobody: the test proves nothing"
    assert found.taps > found.rows > 1000
