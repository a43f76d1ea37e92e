"""Play everything, keep what came of it, and write docs/capacity.md with its drawings: `python -m benchmarks.model`."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from benchmarks.model import loads, stores, two_cores
from benchmarks.model.api import MAX_CONNECTIONS
from benchmarks.model.costs import RESULTS, Costs
from benchmarks.model.play import CALM, IDS_PER_CALL, NETWORK_S
from benchmarks.plot import Bar, bars, lines

KEPT = RESULTS / "model.json"
DOCS = Path(__file__).parents[2] / "docs"
CORES = 16  # of a machine of the deployment
BUSY = 0.60
MACHINES = 60
TAPS_A_DAY = 5e9

Found = dict[str, Any]


def played() -> Found:
    """Everything the page needs; some tens of seconds of one core."""
    costs = Costs()
    cases = [
        {
            "name": case.name,
            "source": case.source,
            "measured": case.measured._asdict(),
            "model": case.model._asdict(),
        }
        for case in two_cores.cases(costs)
    ]
    every = [*loads.steady(costs), loads.zone(costs)]
    every += [
        loads.cold(costs, gate=True, small=False),
        loads.cold(costs, gate=True, small=True),
        loads.cold(costs, gate=False, small=True),
    ]
    return {
        "cases": cases,
        "loads": [{**one._asdict(), "result": one.result._asdict()} for one in every],
        "costs": costs._asdict(),
    }


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [columns, ["---"] * len(columns), *rows])


def _case(case: Found) -> list[str]:
    was, model = case["measured"], case["model"]

    def both(key: str) -> str:
        return f"{was[key]:,.0f} · {model[key]:,.0f}"

    off = model["rate"] / was["rate"] - 1
    fields = ("rate", "p50_ms", "p99_ms", "cassandra_us", "api_us")
    return [case["name"], case["source"], f"{off:+.0%}", *map(both, fields)]


def _load(load: Found) -> list[str]:
    result = load["result"]
    role, most = max(result["busy"].items(), key=lambda item: item[1])
    post = f"{result['viral_per_s']:,.0f}, {result['viral_p99_ms']:,.0f} ms" if "post" in load["name"] else ""
    if "unsplit" in load["name"] and "post" not in post:
        post = f"{result['viral_per_s']:,.0f}, {result['viral_p99_ms']:,.0f} ms"
    return [
        load["name"],
        f"{result['offered_per_s']:,.0f}",
        f"{result['stored_per_s']:,.0f}",
        f"{result['p50_ms']:.0f} · {result['p99_ms']:.0f}",
        post,
        f"{result['rows_per_commit']:.1f}",
        f"{result['lag_p99_ms']:.0f}",
        f"{result['read_p99_ms']:.0f}",
        f"{role} {most:.0%}",
    ]


def machines(cpu_s: dict[str, float], per_s: float) -> dict[str, int]:
    """Machines of each role for so many taps a second, busy for `BUSY` of their cores; at least one in each zone."""
    return {
        role: max(stores.ZONES, math.ceil(per_s * each / 1e6 / CORES / BUSY)) for role, each in cpu_s.items()
    }


def page(found: Found) -> str:
    """docs/capacity.md."""
    by_name = {load["name"]: load for load in found["loads"]}
    peak = by_name["peak, 300 K taps/s"]["result"]
    viral = next(load["result"] for name, load in by_name.items() if "64 lanes" in name)
    zone = next(load for name, load in by_name.items() if "zone" in name)
    cold = {
        gate: next(d for n, d in by_name.items() if f"{gate} the gate" in n and "twelfth" in n)
        for gate in ("with", "without")
    }
    cpu, of_viral = peak["cpu_s"], viral["cpu_s"]
    spread = machines(cpu, loads.PEAK)
    with_post = machines(of_viral, loads.PEAK)
    total, total_viral = sum(cpu.values()), sum(of_viral.values())
    carried = MACHINES * CORES * BUSY / total * 1e6
    carried_viral = MACHINES * CORES * BUSY / total_viral * 1e6
    mean = TAPS_A_DAY / 86_400
    worst = {key: max((y for _, y in zone["lines"][key]), default=0.0) for key in zone["lines"]}
    still = sum(x > loads.LOST_AT_S and not y for x, y in zone["lines"]["stored"]) * 0.25
    reads = {
        gate: max(y for x, y in load["lines"]["p99"] if x >= loads.FLUSHED_AT_S)
        for gate, load in cold.items()
    }
    cold_peak = next(load["result"] for name, load in by_name.items() if name.startswith("peak, and Redis"))
    slow = {
        gate: max(y for x, y in load["lines"]["taps"] if x >= loads.FLUSHED_AT_S)
        for gate, load in cold.items()
    }
    owner = 1e6 / max(
        case["measured"]["api_us"] for case in found["cases"] if case["name"].startswith("one,")
    )
    best = 1e6 / min(case["model"]["api_us"] for case in found["cases"] if case["name"].startswith("one,"))
    less = sum(machines({**cpu, "Cassandra": cpu["Cassandra"] * 7 / 9}, loads.PEAK).values())
    alone = found["costs"]["call"] + found["costs"]["ask"] + found["costs"]["ask_key"]
    rows = [
        [role, f"{cpu[role]:,.0f}", f"{of_viral[role]:,.0f}", str(spread[role]), str(with_post[role])]
        for role in cpu
    ]
    rows.append(
        [
            "all",
            f"{total:,.0f}",
            f"{total_viral:,.0f}",
            f"{sum(spread.values())}",
            f"{sum(with_post.values())}",
        ]
    )
    unsplit = [load for load in found["loads"] if "unsplit" in load["name"]]
    one_owner = "\n".join(
        f"- {load['name']}: {load['result']['viral_per_s']:,.0f} a second stored, {load['result']['refused']:.2f} refusals "
        "for each tap offered."
        for load in unsplit
    )
    return f"""# Capacity

Written by `make capacity` (`python -m benchmarks.model`), which plays a discrete-event model of the cluster profile with
what was measured on two cores, and keeps what came of it in `benchmarks/results/model.json`. Nothing on this page was
measured on a deployment: **it says what follows from the measurements if the assumptions hold.** The kind of answer to
trust is "half as much or twice as much", and which part gives way first. A p99 between 30 and 60 ms says that pauses of
machines decide whether the 50 ms of the design are kept, not queues.

## Does the model know the system?

The cases that were measured, played by the model. In each cell: measured · model. Rates and CPU are within 25 %, medians
within 40 % (`tests/benchmarks/test_model.py`); the tails are not claimed, because they are the moments in which the shared
machine did other things. What the machine did besides during `cells.json` is given to the model as pauses ({two_cores.CELLS.length_s * 1e3:.0f} ms in
every {(two_cores.CELLS.gap_s + two_cores.CELLS.length_s) * 1e3:.0f} ms); `cluster.json` is of a machine that was free. The CPU costs are
solved from some of the same cases, so what is predicted are rates, queues, batch sizes and latencies. `cells.json` is
without HTTP, events and workers; `cluster.json` is with all of them.

{table(["case", "from", "rate off by", "per second", "p50 ms", "p99 ms", "Cassandra µs per tap", "API µs per tap"], [_case(case) for case in found["cases"]])}

![The model's rate as a share of the measured one](capacity-check.svg)

Not reproduced: many processes racing for one cell. The model lets them wait for each other in order, Paxos does not, so
what it says of an unsplit post without routing is a guess.

## Assumptions

- Cores are as fast as those of the measurements; machines have {CORES}, {BUSY:.0%} busy at most, and are not shared. A
  machine pauses {CALM.length_s * 1e3:.0f} ms a second (garbage collection).
- Three replicas, each spends on a commit what the one node of the measurements spent. That is the largest unknown: the
  coordinator's part is counted three times, the messages between replicas not at all. Were the other two spared a third
  of it, the peak below would need {less} machines instead of {sum(spread.values())}.
- {NETWORK_S * 2e3:.1f} ms there and back between zones, {found["costs"]["sync_ms"]} ms for a sync of the commit log, {found["costs"]["ack_ms"]:.0f} ms for an
  acknowledgement of Kafka besides its CPU. A follower of Kafka spends half of what its leader does. A get in Redis takes
  {found["costs"]["get"]:.0f} µs. None of these was measured.
- Every tap of the spread load is on another of 10 million targets: a commit of its own, the dearest there is. Where taps
  meet on targets, less is needed.
- Count reads: 580 K a second in calls of {IDS_PER_CALL}, targets popular as 1/rank, at any process.
- Not in the model: the first touch of a lane (one read of the root more), deletions, pushes, exports, repairs,
  compaction that falls behind, disks that fill, TLS, network bandwidth.

## The design loads

Played on a slice (1/{loads.SLICES} of the load; three Cassandra nodes of 12 cores and the share of everything else). In
every load no tap was lost or stored twice. Rates are those of a slice, latencies in ms of taps on other targets than the
post, p50 · p99.

{table(["load", "offered/s", "stored/s", "tap", "on the post: stored/s, p99", "rows a commit", "counters behind, p99 ms", "reads, p99 ms", "busiest"], [_load(load) for load in found["loads"]])}

![How busy each part is](capacity-busy.svg)

## What it costs

CPU seconds per million taps, each process's share, with the count reads that belong to the load; and machines of {CORES}
cores for 300 K taps/s.

{table(["role", "spread", "a third on one post", "machines, spread", "machines, with the post"], rows)}

- **A million taps cost {total:,.0f} CPU seconds** where they are spread thin, {total_viral:,.0f} where a third of them is on one
  post. {cpu["Cassandra"] / total:.0%} of the former is Cassandra's, three replicas and the lists included.
- The mean of the design, {mean / 1e3:.0f} K taps/s, takes {mean * total / 1e6 / CORES / BUSY:,.0f} machines; the peak of 300 K/s takes {sum(spread.values())}.
- The 580 K count reads are cheap in calls of {IDS_PER_CALL}. Were each a call of its own, they would take {580_000 * alone / 1e6:,.0f} cores of
  API processes ({alone:.0f} µs each), less than half of what the taps of the peak take.

## A deployment of {MACHINES} machines

With {MACHINES} × {CORES} cores, {BUSY:.0%} busy and dealt out in the proportions above, it carries **{carried / 1e3:,.0f} K taps/s** of the spread load
and {carried_viral / 1e3:,.0f} K/s of the one with the post, with count reads in proportion. That is {carried / mean:.1f} times the mean of the
design and {carried / loads.PEAK:.0%} of its peak: **60 machines do not carry the peak of 300 K/s**, {sum(spread.values())} do.

## The post of 100 K taps/s

In 64 lanes each lane takes {loads.VIRAL / loads.LANES:,.0f} taps/s: on the lane played {viral["viral_per_s"]:,.0f}/s were stored with p50
{viral["viral_p50_ms"]:.0f} ms and p99 {viral["viral_p99_ms"]:.0f} ms, while taps on other targets had p99 {viral["p99_ms"]:.0f} ms. A lane's batches are small, because
its commits are quick, so a tap on the post is cheaper than a lone one, but not as cheap as a batch of 128.

Unsplit:

{one_owner}

The first to give way is the event loop of the process that owns the post: by what
its CPU is measured and played to be, an owner takes {owner:,.0f} to {best:,.0f} taps/s, whatever Cassandra could do.
The model's loop works strictly in order of arrival, so in such a storm each step of a commit waits behind thousands of
requests and nearly nothing is stored; at {MAX_CONNECTIONS:,} open requests the rest is turned away. What a real loop stores then
is not known; that only lanes help is.

## What breaks first

- **More taps on many targets**: Cassandra's CPU. At 1.5 × the peak nothing is refused yet.
- **A zone is lost** at the peak (it answers nothing, and nobody is told). For {still:.1f} s nothing is answered at all: Kafka
  acknowledges nothing until the lost brokers are fenced ({stores.FENCED_S:.0f} s by default; measured with real brokers: every
  partition stalls), and each process waits 1.5 s for what is under way before it owes events instead. Cells whose first replica is
  gone wait {stores.NOTICED_S:.0f} s. The worst p99 of a quarter of a second was {worst["p99"] / 1e3:.1f} s for taps and {worst["reads"] / 1e3:.1f} s for reads; afterwards the
  two replicas left carry the same load, because each replica does the same for every commit. Counters of what is
  owed trail until it is swept. A shorter `broker.session.timeout.ms` helps.
- **Redis is emptied** under all reads. Cassandra sized for the peak of taps has room for the misses: reads had p99
  {cold_peak["read_p99_ms"]:.0f} ms, taps {cold_peak["p99_ms"]:.0f} ms, and the gate never closed. With 2.5 × the reads on a twelfth of that Cassandra it does:
  worst p99 of reads {reads["with"]:.0f} ms with the gate and {reads["without"]:.0f} ms without, of taps {slow["with"]:.0f} ms and {slow["without"]:.0f} ms. The queue is
  in the API processes instead of in Cassandra, so taps pass it. What a slice does not show: each of the {loads.SLICES * 6} processes
  asks for the most popular targets at once, {loads.SLICES * 6 * found["costs"]["read"] / 1e3:.0f} ms of a core of their replicas for each of them.
- **One post**: see above.

![Taps while a zone is lost](capacity-zone.svg)

![Reads while Redis fills again](capacity-cold.svg)
"""


def write(found: Found) -> None:
    """The page and its drawings."""
    DOCS.joinpath("capacity.md").write_text(page(found))
    ratios = {
        case["name"]: [Bar("model / measured", case["model"]["rate"] / case["measured"]["rate"])]
        for case in found["cases"]
    }
    DOCS.joinpath("capacity-check.svg").write_text(
        bars("Rate: the model's over the measured", ratios, line=1.0)
    )
    labels = ("mean", "peak", "1.5 × peak", "peak with the post")
    busy = {
        label: [Bar(role, share) for role, share in load["result"]["busy"].items() if role != "Redis"]
        for label, load in zip(labels, found["loads"], strict=False)
    }
    DOCS.joinpath("capacity-busy.svg").write_text(
        bars("Share of its cores that each part uses", busy, line=BUSY)
    )
    by_name = {load["name"]: load["lines"] for load in found["loads"]}
    zone = next(drawn for name, drawn in by_name.items() if "zone" in name)
    taps = {"stored": zone["stored"], "refused": zone["refused"]}
    drawing = lines(
        "A zone is lost", taps, across="seconds", up="taps/s of half a slice", marks={"lost": loads.LOST_AT_S}
    )
    DOCS.joinpath("capacity-zone.svg").write_text(drawing)
    cold = {
        gate: next(d["p99"] for n, d in by_name.items() if gate in n and "twelfth" in n)
        for gate in ("with the gate", "without the gate")
    }
    drawing = lines(
        "Redis is emptied",
        cold,
        across="seconds",
        up="p99 of reads, ms",
        marks={"emptied": loads.FLUSHED_AT_S},
    )
    DOCS.joinpath("capacity-cold.svg").write_text(drawing)


def main() -> None:
    """Play and write, or only write again what was kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="only write the page again from what was kept")
    if not parser.parse_args().write:
        KEPT.write_text(json.dumps(played(), indent=1, ensure_ascii=False) + "\n")
    write(json.loads(KEPT.read_text()))


if __name__ == "__main__":
    main()
