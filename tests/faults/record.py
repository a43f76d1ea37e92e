"""What clients sent and were told, in a file that is only appended to; and what it allows a user's state to be."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self

import msgspec

Told = Literal["sent", "ok", "refused", "unknown", "wrong"]
Place = tuple[str, str]  # user, target


class Tap(NamedTuple):
    """A tap as its client means it: however often it is sent, it is one."""

    user: str
    target: str
    method: str
    reaction: str | None
    key: str

    def after(self, before: str | None) -> str | None:
        """What it makes of a reaction."""
        return None if self.method == "POST" and self.reaction == before else self.reaction


class Line(msgspec.Struct, omit_defaults=True):
    """One thing that happened: a tap was sent to an API process, or its client was told something."""

    at_s: float  # monotonic
    tap: Tap
    api: int
    told: Told
    outcome: str = ""
    previous: str | None = None
    reaction: str | None = None
    replayed: bool = False
    lanes: int = 0
    why: str = ""
    broke: bool = False  # the connection, amid the request


class Record:
    """The journal of one load. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab")
        self.told = dict.fromkeys(("sent", "ok", "refused", "unknown", "wrong"), 0)
        self.acknowledged: set[str | int] = set()  # targets, and API processes, since somebody cleared it
        self._encode = msgspec.json.Encoder().encode

    def note(self, tap: Tap, api: int, told: Told, **more: str | int | None) -> None:
        """Append a line."""
        line = Line(time.monotonic(), tap, api, told)
        for name, value in more.items():
            setattr(line, name, value)
        self.told[told] += 1
        if told == "ok":
            self.acknowledged |= {tap.target, api}
        self._file.write(self._encode(line) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self) -> list[Line]:
        """Everything, in the order in which it happened."""
        self._file.flush()
        decode = msgspec.json.Decoder(Line).decode
        return [decode(line) for line in self._path.read_bytes().splitlines()]


class Explained(NamedTuple):
    """What the journal allows each place to be, and what in it contradicts itself."""

    states: dict[Place, set[str | None]]
    lost: list[str]  # an answer says that an acknowledged tap was not there
    doubled: list[str]  # a repetition did something
    wrong: list[str]  # answers that should not be
    unsettled: int


def explain(lines: Iterable[Line]) -> Explained:
    """Go through it, user by user and target by target. A client sends no other tap on a target before it was told
    about the last one; where it never was, both are allowed."""
    found = Explained({}, [], [], [], 0)
    taps: dict[Tap, list[Line]] = {}
    for line in lines:
        taps.setdefault(line.tap, []).append(line)
    unsettled = 0
    for tap, story in taps.items():
        states = found.states.setdefault((tap.user, tap.target), {None})
        found.wrong.extend(f"{tap}: {line.why}" for line in story if line.told == "wrong")
        told = [line for line in story if line.told == "ok"]
        if told:
            _acknowledged(tap, story, told, states, found)
        elif sum(line.told == "sent" for line in story) > sum(line.told == "refused" for line in story):
            unsettled += 1
            states |= {tap.after(state) for state in states}
    return found._replace(unsettled=unsettled)


def _acknowledged(
    tap: Tap, story: Sequence[Line], told: Sequence[Line], states: set[str | None], found: Explained
) -> None:
    first, *others = told
    if first.previous not in states or first.reaction != tap.after(first.previous):
        found.lost.append(f"{tap} on {states} was told {first.previous} -> {first.reaction}")
    before = story[: story.index(first)]
    if first.replayed and not any(line.told == "unknown" for line in before):
        found.wrong.append(f"{tap} was called a repetition the first time")
    for other in others:
        same = (first.outcome, first.previous, first.reaction) == (
            other.outcome,
            other.previous,
            other.reaction,
        )
        # One that changed nothing may be called a first one: of such a row nobody can tell who wrote it.
        if not same or not (other.replayed or other.outcome == "unchanged"):
            found.doubled.append(f"{tap}: {other} after {first}")
    states.clear()
    states.add(first.reaction)


def unanswered(lines: Sequence[Line], at_most: int) -> list[str]:
    """Taps whose clients were left in doubt. So many connections may break, if nothing was done over them: when their
    taps are sent again, they are no repetitions."""
    done = {line.tap: line for line in reversed(lines) if line.told == "ok"}  # the first answer of each
    doubts = [line for line in lines if line.told == "unknown"]
    cut = [line for line in doubts if line.broke and line.tap in done and not done[line.tap].replayed]
    found = doubts if len(cut) > at_most else [line for line in doubts if line not in cut]
    return [f"{line.tap}: {line.why}" for line in found]


def longest_gap_s(lines: Iterable[Line], begin_s: float, end_s: float) -> float:
    """The longest time between two acknowledgements, from `begin_s` to `end_s`."""
    times = sorted(line.at_s for line in lines if line.told == "ok" and begin_s < line.at_s < end_s)
    return max(b - a for a, b in zip([begin_s, *times], [*times, end_s], strict=True))


Span = tuple[float, float]


class Silence(NamedTuple):
    """How long somebody waited in vain, and for what."""

    s: float
    whose: str


def silence(
    lines: Sequence[Line], begin_s: float, end_s: float, away: Mapping[int, Sequence[Span]]
) -> Silence:
    """The longest time in which taps on any one target were wanted and none was acknowledged, by whichever process; and
    any one API process was asked and acknowledged none, while it was there. `away`: when each was not."""
    found = [Silence(0.0, "")]
    for target in dict.fromkeys(line.tap.target for line in lines):
        on_it = [line for line in lines if line.tap.target == target]
        found.append(Silence(waited_s(on_it, (begin_s, end_s)), target))
    for api, spans in away.items():
        starts, ends = [begin_s, *(to for _, to in spans)], [*(at for at, _ in spans), end_s]
        by_it = [line for line in lines if line.api == api]
        found += [Silence(waited_s(by_it, there), f"api{api}") for there in zip(starts, ends, strict=True)]
    return max(found)


def waited_s(lines: Iterable[Line], within: Span) -> float:
    """The longest time in which somebody waited, or was sent away, and nobody's tap was acknowledged."""
    begin_s, end_s = within
    waiting: set[tuple[Tap, int]] = set()
    since_s, longest_s = end_s, 0.0
    for line in lines:
        if not begin_s < line.at_s < end_s:
            continue
        request = line.tap, line.api
        if line.told == "sent":
            waiting.add(request)
            since_s = min(since_s, line.at_s)
            continue
        waiting.discard(request)
        if line.told == "ok":
            longest_s = max(longest_s, line.at_s - since_s)
            since_s = line.at_s if waiting else end_s
    return max(longest_s, end_s - since_s)
