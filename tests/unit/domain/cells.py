"""Short ways to write taps and to commit them, for the tests of the cell."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, pairwise

from plaudit.domain.catalogue import DEFAULT_REACTIONS, Catalogue, Reaction, Registration
from plaudit.domain.cell import Answer, Header, Outcome, Plan, Refused, Row, Rules, Tap, Verb, fold
from plaudit.domain.operations import operation_id

NONE, LIKE, LOVE, HAHA, WOW, SAD, ANGRY = range(7)
BOO = 9  # a reaction that was retired
NOW = 1_760_000_000_000_000  # microseconds UTC
HOUR = 3_600_000_000

RULES = Rules(
    Catalogue([*DEFAULT_REACTIONS, Reaction(code=BOO, name="boo", emoji="👻", label="Boo", retired=True)])
)
POST = Registration(type="post")

_random = count(1)


def tap(
    user: str,
    reaction: int,
    key: str | None = None,
    *,
    verb: Verb = Verb.SET,
    target_type: str | None = None,
    granted: bool = False,
) -> Tap:
    """A tap as HTTP would hand it in: with the operation id of its key, or one nobody had before."""
    op = operation_id(key.encode()) if key is not None else next(_random).to_bytes(8, "big")
    return Tap(user, verb, reaction, op, key is not None, target_type, granted)


def toggle(user: str, reaction: int, key: str | None = None) -> Tap:
    """A toggle."""
    return tap(user, reaction, key, verb=Verb.TOGGLE)


@dataclass
class Cell:
    """A cell that keeps what is committed to it."""

    header: Header | None = None
    rows: dict[str, Row] = field(default_factory=dict)
    registration: Registration | None = None
    rules: Rules = RULES
    now: int = NOW

    def plan(self, *taps: Tap) -> Plan:
        """What a commit of these taps would be."""
        users = {tap.user for tap in taps}
        mine = {user: row for user, row in self.rows.items() if user in users}
        return fold(self.header, mine, taps, self.now, self.rules, self.registration)

    def commit(self, *taps: Tap) -> list[Answer | Refused]:
        """Commit these taps together, and the answers to them."""
        plan = self.plan(*taps)
        if plan.changed:
            self.header = plan.header
            self.rows |= plan.changed
        return plan.answers

    def one(self, single: Tap) -> Answer:
        """Commit a tap that is not refused."""
        (answer,) = self.commit(single)
        assert isinstance(answer, Answer), answer
        return answer

    def code(self, single: Tap) -> str:
        """The error code of a tap that is refused, which leaves everything as it was."""
        before = replace(self, rows=dict(self.rows))
        (answer,) = self.commit(single)
        assert isinstance(answer, Refused), answer
        assert self == before
        return answer.code

    @property
    def seen(self) -> Header:
        """The header, which must be there."""
        assert self.header is not None
        return self.header


def liked(reaction: int = LIKE, key: str | None = None) -> Cell:
    """A cell in which ann has a reaction."""
    cell = Cell()
    cell.one(tap("ann", reaction, key))
    return cell


def answers(*wanted: tuple[Outcome, int, int]) -> list[Answer | Refused]:
    """Answers of first applications, each as (outcome, previous, reaction)."""
    return [Answer(outcome, previous, reaction) for outcome, previous, reaction in wanted]


def in_batches(taps: Sequence[Tap], cuts: Iterable[int]) -> list[Sequence[Tap]]:
    """`taps` cut before each of these places."""
    edges = [0, *sorted({c for c in cuts if 0 < c < len(taps)}), len(taps)]
    return [taps[a:b] for a, b in pairwise(edges)]
