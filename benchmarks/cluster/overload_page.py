"""What the benchmarks of overload and of a cold Redis print, keep, and write into docs/overload.md."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.cluster.report import FREE, machine, versions

RESULTS = Path(__file__).parents[1] / "results" / "overload.json"
DOCS = Path(__file__).parents[2] / "docs" / "overload.md"
Found = dict[str, Any]


def keep(console: Console, name: str, found: Found) -> None:
    """Print what was found, put it beside what was found before, and write the page again."""
    kept: Found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[name] = {
        **found,
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "machine": machine(),
        "versions": versions(),
    }
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    console.print_json(data=found)
    DOCS.write_text(_page(kept))


def _page(kept: Found) -> str:
    parts = [
        "# Overload and a cold Redis",
        "Written by `python -m benchmarks.cluster.overload` and `python -m benchmarks.cluster.cold`: the cluster "
        "profile on real engines, engines and load on the same machine. Ratios mean something within one run; "
        "*elsewhere* is the share of the machine that something else used meanwhile.",
    ]
    for name, write in (("overload", _overload), ("cold", _cold)):
        if found := kept.get(name):
            software = ", ".join(f"{what} {which}" for what, which in found["versions"].items())
            parts += [*write(found), f"{found['machine']}. {software}. Measured {found['at']} UTC."]
    return "\n\n".join(parts) + "\n"


def _overload(found: Found) -> list[str]:
    others, same, viral = found["others"], found["same target"], found["viral"]
    # What Java has not compiled yet when it begins takes longer before; so the quieter of the two times counts.
    ratio = others["during"]["p99_ms"] / min(others[when]["p99_ms"] for when in ("before", "after"))
    reached = "not decided" if found["elsewhere"] > FREE else "yes" if ratio < 2 else "no"
    lines = [
        "| taps | before: p50, p99 ms | during | from 5 s after it |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | " + " | ".join(_latency(part[when]) for when in ("before", "during", "after")) + " |"
            for name, part in (("on other targets", others), ("10 a second on the same target", same))
        ),
    ]
    memory = found["memory_mb"]
    return [
        "## One target offered ten times what it takes",
        f"One API process. Commits on one target are held down: each takes {found['users']} users and "
        f"{found['held_s']:.2f} s longer than it would. In an open loop it is offered ten times that for a minute: "
        f"{found['offered_per_s']:,.0f} taps a second, {found['offered_per_s'] / found['no_op']:.2f} of the "
        f"{found['no_op']:,.0f} that the process takes on a target whose commits do nothing. Beside it 100 taps a "
        "second go to 500 other targets, which the ledger takes as it can.",
        "\n".join(lines),
        *_cores(found),
        f"**p99 on other targets**: {ratio:.2f} of what it was in the quieter of the other two times (wanted: less "
        f"than 2: {reached}); "
        f"{found['others_failed']} of their taps failed. Elsewhere {found['elsewhere']:.0%}; beyond {FREE:.0%} nothing "
        "is decided.",
        f"**Of the crowd** {viral['stored_per_s']:,.0f} taps a second were stored (p50 {viral['p50_ms'] / 1e3:.1f} s), "
        f"{viral['refused_at_once']:.1%} got their 503 at once (p50 {viral['refused_p50_ms']:.0f} ms) and "
        f"{viral['refused_late']:.1%} after they had waited.",
        f"**Memory** of the process: {memory['before']:.0f} MB before, {memory['during']:.0f} MB at most meanwhile, "
        f"{memory['after']:.0f} MB after. At most {found['waiting_max']:,.0f} taps waited.",
    ]


def _cores(found: Found) -> list[str]:
    """Who used the machine, where the results say it."""
    if "cores" not in found:
        return []
    cores, warm = found["cores"], found["warm_ms"]
    lines = [
        "| cores used by | before | during | from 5 s after it |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | "
            + " | ".join(f"{cores[when][name]:.2f}" for when in ("before", "during", "after"))
            + " |"
            for name in cores["during"]
        ),
    ]
    return [
        f"Before that the stores were warmed up with taps on these targets, for {len(warm)} rounds: from {warm[0]:.1f} "
        f"to {warm[-1]:.1f} ms of their CPU for a tap.",
        "\n".join(lines),
    ]


def _latency(part: Found) -> str:
    if not part["stored"]:
        return f"0 of {part['taps']:,} stored"
    stored = "" if part["stored"] == part["taps"] else f" ({part['stored']:,} of {part['taps']:,} stored)"
    return f"{part['p50_ms']:.0f}, {part['p99_ms']:.0f}{stored}"


def _cold(found: Found) -> list[str]:
    cases = {
        "start-up": "an API process starts, and Redis is empty",
        "emptied": "Redis is emptied (FLUSHALL) under that load",
        "warmed": "an API process starts after `plaudit warm`",
        "warm": "for comparison: everything is warm",
    }
    lines = [
        "| | p50, p99 ms | refused | read from the ledger | until Redis has 99 % of it |",
        "|---|---|---|---|---|",
    ]
    for name, words in cases.items():
        case = found[name]
        whole_s = "whole_s" in case and (f"{case['whole_s']:.1f} s" if case["whole_s"] else "not in time")
        read = f"{case['refills'] / found['targets']:.3f} a target" if "refills" in case else ""
        lines.append(
            f"| {words} | {case['p50_ms']:.0f}, {case['p99_ms']:.0f} | {case['refused']:,} of {case['calls']:,} "
            f"| {read} | {whole_s or ''} |"
        )
    return [
        "## Full read load on an empty Redis",
        f"One API process is asked for the counts of 20 of {found['targets']:,} targets at random, 150 times a second "
        "in an open loop; Cassandra has all of them. Latencies are of the first three seconds; "
        f"{found['unanswered']} calls got no answer.",
        "\n".join(lines),
    ]
