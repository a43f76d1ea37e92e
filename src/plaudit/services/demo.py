"""Demo: a small neighbourhood of users and targets to try reactions on.

Everything is made with the same use cases that a host app and its users have, once: a target that has been there before
keeps the reactions it has, so a restart changes nothing. What this installation cannot take (a reaction or type that
its catalogue lacks, an erased user, a deleted target) is left out.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import NamedTuple

from plaudit.domain.cell import Header, Verb
from plaudit.domain.errors import Conflict, Invalid
from plaudit.domain.principal import Principal
from plaudit.ports.clock import Clock
from plaudit.services.describe import Describe, TargetDescription, UserDescription
from plaudit.services.react import React
from plaudit.services.read import Read

log = logging.getLogger("plaudit.demo")

GRANT = "demo:*"
HOST_APP = Principal(user=None, service=True)


class DemoUser(NamedTuple):
    """Somebody to act as."""

    id: str
    name: str

    @property
    def avatar_url(self) -> str:
        """Where the demo page's picture of this user is."""
        return f"/demo/avatars/{self.id}.svg"


class DemoTarget(NamedTuple):
    """Something to react to. `age_min` is its age in minutes when the demo was made, `reactions` those it starts with.

    `picture` is a file of the demo page with the words that stand in for it.
    """

    id: str
    type: str
    author: str
    title: str
    text: str
    age_min: int
    reactions: Mapping[str, str]
    parent: str | None = None
    closed: bool = False
    picture: tuple[str, str] | None = None


ALICE, BOB, CHIARA, DEV, EMI, FARID, GRACE, HUGO = USERS = (
    DemoUser("demo-alice", "Alice Moreau"),
    DemoUser("demo-bob", "Bob Okafor"),
    DemoUser("demo-chiara", "Chiara Rossi"),
    DemoUser("demo-dev", "Dev Patel"),
    DemoUser("demo-emi", "Emi Tanaka"),
    DemoUser("demo-farid", "Farid Haddad"),
    DemoUser("demo-grace", "Grace Kim"),
    DemoUser("demo-hugo", "Hugo Lindqvist"),
)

TARGETS = (
    DemoTarget(
        "demo:lake",
        "post",
        EMI.id,
        "Sunrise at the lake",
        "Up at five, and for once it was worth it. Nobody else at the lake but a heron that judged my flask of tea.",
        25,
        {
            DEV.id: "like",
            HUGO.id: "love",
            CHIARA.id: "wow",
            FARID.id: "love",
            GRACE.id: "love",
            BOB.id: "like",
        },
        picture=("lake.svg", "The sun rising behind mountains, mirrored in a still lake"),
    ),
    DemoTarget(
        "demo:lake-tea",
        "comment",
        BOB.id,
        "A comment on the sunrise",
        "Herons judge everyone. It is nothing personal.",
        19,
        {EMI.id: "haha", GRACE.id: "haha", ALICE.id: "haha"},
        parent="demo:lake",
    ),
    DemoTarget(
        "demo:lake-trail",
        "comment",
        HUGO.id,
        "A comment on the sunrise",
        "Which trail is that? I have been looking for a quiet one.",
        12,
        {EMI.id: "like"},
        parent="demo:lake",
    ),
    DemoTarget(
        "demo:bread",
        "post",
        FARID.id,
        "Loaf number eleven",
        "Loaf number eleven, and the first that does not double as a doorstop. "
        "Ten neighbours deserve an apology.",
        140,
        {
            EMI.id: "like",
            GRACE.id: "haha",
            DEV.id: "haha",
            HUGO.id: "like",
            ALICE.id: "love",
            BOB.id: "haha",
            CHIARA.id: "love",
        },
    ),
    DemoTarget(
        "demo:cat",
        "post",
        GRACE.id,
        "The cat is back",
        "Miso is home! Three days gone, and she walked in as if she had only been to the shop. "
        "Thank you all for looking.",
        320,
        {
            BOB.id: "love",
            ALICE.id: "love",
            CHIARA.id: "wow",
            EMI.id: "love",
            FARID.id: "like",
        },
    ),
    DemoTarget(
        "demo:bus",
        "post",
        DEV.id,
        "Bus 14",
        "They are taking bus 14 off the timetable from next month. Forty minutes on foot to the station, then.",
        1500,
        {CHIARA.id: "sad", HUGO.id: "angry", FARID.id: "sad", BOB.id: "angry"},
    ),
    DemoTarget(
        "demo:vote",
        "post",
        CHIARA.id,
        "The name of the street party",
        "Voting is over: the street party is called “Block and Roll”. Thank you for 214 suggestions, "
        "most of them printable.",
        4300,
        {DEV.id: "haha", GRACE.id: "like", HUGO.id: "angry"},
        closed=True,
    ),
    DemoTarget(
        "demo:message",
        "message",
        HUGO.id,
        "A message in the group chat",
        "I have the ladder, who has the lights? Meet at the oak at seven.",
        8,
        {GRACE.id: "like", FARID.id: "like"},
    ),
)


class Demo:
    """Makes the demo users and targets where they are missing."""

    def __init__(self, describe: Describe, react: React, read: Read, clock: Clock) -> None:
        self._describe = describe
        self._react = react
        self._read = read
        self._clock = clock

    async def prepare(self) -> int:
        """Make what is missing; returns when the demo was first made, in microseconds UTC.

        Idempotent. Raises `Unavailable` and `OutcomeUnknown` as the services do.
        """
        for user in USERS:
            await self._user(user)
        before = await self._headers()
        await asyncio.gather(*(self._target(target, before[target.id]) for target in TARGETS))
        born = [header.born for header in (await self._headers()).values() if header and header.born]
        return min(born, default=self._clock.now_us())

    async def _headers(self) -> dict[str, Header | None]:
        found = await self._read.targets(HOST_APP, [target.id for target in TARGETS])
        return {id_: shown.target.header for id_, shown in found.items()}

    async def _user(self, user: DemoUser) -> None:
        try:
            await self._describe.user(user.id, UserDescription(name=user.name, avatar_url=user.avatar_url))
        except Invalid as error:
            log.warning("demo user %s is left out: %s", user.id, error)

    async def _target(self, target: DemoTarget, header: Header | None) -> None:
        if header is not None and header.deleted:
            return  # registering would bring back what somebody deleted
        try:
            if header is None:
                await self._register(target, closed=False)  # a closed target takes no reactions
                await self._reactions(target)
            await self._register(target, closed=target.closed)
        except (Invalid, Conflict) as error:
            log.warning("demo target %s is left out: %s", target.id, error)

    async def _register(self, target: DemoTarget, *, closed: bool) -> None:
        description = TargetDescription(
            owner_id=target.author, target_type=target.type, title=target.title, closed=closed
        )
        await self._describe.target(target.id, description)

    async def _reactions(self, target: DemoTarget) -> None:
        """One after the other, so that they have the order of the table."""
        for user, reaction in target.reactions.items():
            who = Principal(user=user, grants=(GRANT,))
            try:
                await self._react.tap(who, user, target.id, Verb.SET, reaction, None, None)
            except Invalid as error:
                log.warning("demo reaction of %s on %s is left out: %s", user, target.id, error)
