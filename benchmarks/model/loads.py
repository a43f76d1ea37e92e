"""The design loads, and how many slices carry them."""

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.model.costs import Costs
from benchmarks.model.play import (
    PER_PERIOD_S,
    Pick,
    Result,
    Size,
    Slice,
    lanes,
    play,
    uniform,
)

PEAK = 300_000.0
MEAN = 58_000.0
VIRAL = 100_000.0
COUNTS = 580_000.0
LANES = 64
SLICES = LANES  # so that each has one lane of the viral post; no role is busy for more than 60 % at the peak
SECONDS = 1.5
LOST_AT_S, FLUSHED_AT_S = 2.0, 0.5

Timeline = list[tuple[float, float]]


class Played(NamedTuple):
    """A load by name, with what it did; `lines`: what is worth drawing over time."""

    name: str
    result: Result
    lost: int  # taps that were answered and are not stored, or that are stored twice
    lines: dict[str, Timeline]


def _played(name: str, slice_: Slice, result: Result, lines: dict[str, Timeline] | None = None) -> Played:
    ledger, seen = slice_.ledger, slice_.seen
    return Played(name, result, ledger.doubled + max(0, seen.stored - len(ledger.stored)), lines or {})


def steady(costs: Costs) -> Iterator[Played]:
    """Loads that stay as they are."""
    spread, others, counts = PEAK / SLICES, (PEAK - VIRAL) / SLICES, COUNTS / SLICES
    for name, share in (("mean, 58 K taps/s", MEAN / PEAK), ("peak, 300 K taps/s", 1.0), ("1.5 × peak", 1.5)):
        slice_ = Slice(costs)
        yield _played(name, slice_, play(slice_, {uniform: spread * share}, counts, SECONDS))
    for name, post_per_s in (
        ("peak, a third of it on one post in 64 lanes", VIRAL / LANES),
        ("the same, unsplit, 5 K taps/s on it", 5_000.0),
        ("the same, unsplit, 20 K taps/s on it", 20_000.0),
    ):
        slice_ = Slice(costs)
        loads: dict[Pick, float] = {uniform: others, lanes(1): post_per_s}
        yield _played(name, slice_, play(slice_, loads, counts, SECONDS))
    slice_ = Slice(costs, Size(api=32), owners=False)
    yield _played(
        "one post, 5 K taps/s, unsplit, 32 processes, no routing",
        slice_,
        play(slice_, {lanes(1): 5_000.0}, 0, SECONDS),
    )


def zone(costs: Costs) -> Played:
    """The loss of a zone at the peak, at half the cores and half the load of a slice."""
    half = Size(cassandra=18, api=3, kafka=3, redis=3, workers=1)
    slice_ = Slice(costs, half)
    lost_s, seconds = LOST_AT_S, 13.0
    slice_.simulation.after(lost_s, slice_.lose_zone)
    result = play(slice_, {uniform: PEAK / SLICES / 2}, COUNTS / SLICES / 2, seconds, warm_s=0.0)
    seen, periods = slice_.seen, range(int(seconds / PER_PERIOD_S))
    drawn: dict[str, Timeline] = {
        "stored": [(n * PER_PERIOD_S, seen.stored_in[n] / PER_PERIOD_S) for n in periods],
        "refused": [(n * PER_PERIOD_S, seen.refused_in[n] / PER_PERIOD_S) for n in periods],
    }
    drawn["p99"] = [(n * PER_PERIOD_S, t.at(0.99) * 1e3) for n, t in sorted(seen.slow_in.items())]
    drawn["reads"] = [(n * PER_PERIOD_S, t.at(0.99) * 1e3) for n, t in sorted(seen.read_in.items())]
    return _played("peak, and a zone is lost after 2 s", slice_, result, drawn)


def cold(costs: Costs, *, gate: bool, small: bool) -> Played:
    """Redis is emptied under all reads. `small`: more reads, and much less of Cassandra, than the design has."""
    slice_ = Slice(costs, Size(cassandra=3) if small else Size(), gate=gate)
    slice_.simulation.after(FLUSHED_AT_S, slice_.totals.flush)
    taps_per_s, counts = (100.0, 2.5 * COUNTS / SLICES) if small else (PEAK / SLICES, COUNTS / SLICES)
    result = play(slice_, {uniform: taps_per_s}, counts, 2.0 if small else 3.0, warm_s=0.0)
    seen = slice_.seen
    drawn = {
        "p99": [(n * PER_PERIOD_S, t.at(0.99) * 1e3) for n, t in sorted(seen.read_in.items())],
        "taps": [(n * PER_PERIOD_S, t.at(0.99) * 1e3) for n, t in sorted(seen.slow_in.items())],
    }
    load = "2.5 × the reads on a twelfth of Cassandra" if small else "peak"
    name = f"{load}, and Redis is emptied, {'with' if gate else 'without'} the gate"
    return _played(name, slice_, result, drawn)
