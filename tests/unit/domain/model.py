"""The rules once more, as plainly as they can be written: what a target is to somebody who only sees the answers."""

from dataclasses import dataclass, field

from plaudit.domain.catalogue import Registration
from plaudit.domain.cell import Answer, Outcome, Refused, Tap, Verb

DAY_S = 86_400


@dataclass
class Memory:
    """One operation that a user's row remembers."""

    op: bytes
    wish: tuple[int, int]
    outcome: Outcome
    previous: int
    at_s: int


@dataclass
class Person:
    """What is known of one user: the reaction, if there ever was one, and the last nine operations."""

    reaction: int = 0
    reacted: bool = False
    memories: list[Memory] = field(default_factory=list)


@dataclass
class Model:
    """One target."""

    live: frozenset[int]
    people: dict[str, Person] = field(default_factory=dict)
    type: str | None = None
    registration: Registration | None = None
    deleted: bool = False

    def apply(self, tap: Tap, now_s: int) -> tuple[Outcome, int, bool] | str:
        """The outcome, previous and whether it was a replay; or the error code."""
        its_type = self.type or tap.target_type or "post"
        if not (self.registration or self.deleted or any(each.reaction for each in self.people.values())):
            its_type = tap.target_type or its_type
        if its_type == "message" and not tap.granted:
            return "target_not_granted"
        if self.deleted:
            return "target_deleted"
        if its_type == "message" and not self.registration:
            return "target_not_registered"
        person = self.people.get(tap.user, Person())
        wish = (tap.verb, tap.reaction)
        for memory in person.memories:
            if memory.op == tap.op and memory.at_s + DAY_S >= now_s:
                return (
                    (memory.outcome, memory.previous, True)
                    if memory.wish == wish
                    else "idempotency_key_reused"
                )
        if tap.target_type not in (None, its_type):
            return "target_type_mismatch"
        if self.registration and self.registration.closed and tap.reaction:
            return "target_closed"
        previous = person.reaction
        wanted = 0 if tap.verb == Verb.TOGGLE and previous == tap.reaction else tap.reaction
        if wanted and wanted != previous and wanted not in self.allowed():
            return "reaction_not_allowed"
        outcome = self.outcome(previous, wanted)
        if tap.keyed or outcome != Outcome.UNCHANGED:
            self.type = its_type if wanted else self.type or "post"
            self.people[tap.user] = person
            person.reaction = wanted
            person.reacted = person.reacted or wanted != 0
            kept = person.memories[:8]
            while kept and kept[-1].at_s + DAY_S < now_s:
                kept.pop()  # for good, even if the clock steps back later
            person.memories = [Memory(tap.op, wish, outcome, previous, now_s), *kept]
        return outcome, previous, False

    def allowed(self) -> set[int]:
        """The codes that may be given now."""
        if self.registration is None or self.registration.allowed is None:
            return set(self.live)
        return {code for code in self.live if self.registration.allowed & 1 << code}

    @staticmethod
    def outcome(previous: int, wanted: int) -> Outcome:
        """What it is called to go from one reaction to another."""
        if previous == wanted:
            return Outcome.UNCHANGED
        if not previous:
            return Outcome.CREATED
        return Outcome.SWITCHED if wanted else Outcome.REMOVED

    def answers(self, taps: list[Tap], now_s: int) -> list[Answer | Refused]:
        """The answers to taps that are committed together: each tells the reaction after all of them."""
        results = [(tap, self.apply(tap, now_s)) for tap in taps]
        return [
            Refused(result)
            if isinstance(result, str)
            else Answer(result[0], result[1], self.people.get(tap.user, Person()).reaction, result[2])
            for tap, result in results
        ]
