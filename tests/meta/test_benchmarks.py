"""Whoever looks for a measurement finds it: in the list of `make bench-all`, and on the page that its results make."""

import json

from benchmarks.cluster import report
from benchmarks.every import BENCHMARKS, chosen
from tests.meta.files import ROOT

# Started by a benchmark, as its server or its load.
PARTS = {"every", "floor", "receiver", "stream_client", "cluster.held", "cluster.in_place"}


def test_every_benchmark_is_in_the_list() -> None:
    folder = ROOT / "benchmarks"
    programs = {
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__main__")
        for path in folder.rglob("*.py")
        if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
    }
    assert programs - PARTS == {each.command.split()[0] for each in BENCHMARKS}
    assert programs >= PARTS


def test_what_a_benchmark_writes_is_there() -> None:
    assert [each.name for each in BENCHMARKS if each.writes and not (ROOT / each.writes).is_file()] == []


def test_all_are_those_that_start_what_they_need() -> None:
    assert {each.name for each in BENCHMARKS} - {each.name for each in chosen(["all"])} == {"statements"}
    assert [each.name for each in chosen(["hot", "cold"])] == ["hot", "cold"]


def test_the_page_of_the_cluster_is_that_of_the_results_and_has_a_row_for_every_goal() -> None:
    kept = json.loads(report.RESULTS.read_text(encoding="utf-8"))
    written = report.DOCS.read_text(encoding="utf-8")
    assert written == report.page(kept), "run 'python -m benchmarks.cluster --page'"
    goals = [goal[0] for goal in (*report.GOALS, *report.OTHER_GOALS)]
    assert [goal for goal in goals if f"| {goal} |" not in written] == []


def test_a_goal_is_not_reached_by_a_figure_on_the_wrong_side_of_it() -> None:
    cases: report.Found = {
        "counts of 20, hot": {"of_floor": 0.79},
        "counts of 20, Redis": {"calls": {"cpu_us": 330.0}},
        "freshness": {"p99_ms": 1000.1},
        "windows": {"handed_over_s": 4.0, "elsewhere": 0.5},
    }
    found = [(line[1], line[-1]) for line in report.others(cases)]
    assert found == [("0.79", "no"), ("330 µs", "yes"), ("1,000 ms", "no"), ("4.0 s", "not decided")]
