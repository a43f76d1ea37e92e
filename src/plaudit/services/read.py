"""Read: feeds, own state, reactors, and what a user reacted to.

A feed costs the same number of reads whatever the number of targets: one for targets not in the near cache, beside it
one for own state, then one for the names in the summaries.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from plaudit.domain.catalogue import NONE, Catalogue
from plaudit.domain.errors import Corrupt, Invalid, Unavailable
from plaudit.domain.lanes import lane_of, route
from plaudit.domain.principal import Principal
from plaudit.domain.summary import others, summary_text
from plaudit.ports.directory import Directory, Profile
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Entry, OwnState, Reactors
from plaudit.services.cursor import Cursors
from plaudit.services.near import NearCache, Shown

log = logging.getLogger("plaudit.read")


class User(NamedTuple):
    """A user as shown: the id stands in for a name nobody told us."""

    id: str
    name: str
    avatar_url: str | None


class Summary(NamedTuple):
    """The sentence under a post and what it is made of."""

    text: str
    sample: list[User]
    others: int


class Mine(NamedTuple):
    """A user's reaction on each target, None for none. Without those of which nobody can tell; then `degraded`."""

    reactions: dict[str, str | None]
    degraded: bool


class FeedItem(NamedTuple):
    """One target of a feed. `reaction` is None for none, and means nothing in a feed without own state.

    `route` is for whoever sends the user's next tap on it.
    """

    shown: Shown
    reaction: str | None
    summary: Summary
    route: str


class Feed(NamedTuple):
    """Targets in the order asked for. `own`: whether they say what the user's reaction is."""

    items: dict[str, FeedItem]
    own: bool
    degraded: bool


class ReactorsPage(NamedTuple):
    """A page of reactors: (user, reaction name, created_at in microseconds)."""

    reactors: list[tuple[User, str, int]]
    next_cursor: str | None
    total: int


class ReactedPage(NamedTuple):
    """A page of what a user reacted to: (target, reaction name, created_at in microseconds)."""

    reactions: list[tuple[str, str, int]]
    next_cursor: str | None


class Read:
    """Answers questions. Raises `Invalid` (`target_not_granted`) for targets the asker may not see."""

    def __init__(
        self,
        near: NearCache,
        own: OwnState,
        reactors: Reactors,
        directory: Directory,
        catalogue: Catalogue,
        cursors: Cursors,
    ) -> None:
        self._near = near
        self._own = own
        self._reactors = reactors
        self._directory = directory
        self._catalogue = catalogue
        self._cursors = cursors

    async def targets(
        self, who: Principal | None, ids: Sequence[str], *, field: str = "target_ids"
    ) -> dict[str, Shown]:
        """These targets, in this order, if the asker may see all of them. `field` is where they were asked for."""
        found = await self._near.load(ids)
        if who is None:
            refused = [id_ for id_, shown in found.items() if not shown.public]
            code, why = "token_missing", "Target {} is not public; send a token."
        else:
            refused = [id_ for id_, shown in found.items() if shown.guarded and not who.granted(id_)]
            code, why = "target_not_granted", "Your token does not grant {}."
        if refused:
            raise Invalid(code, why.format(refused[0]), field=field, targets=refused)
        return found

    async def mine(self, who: Principal, user: str, ids: Sequence[str]) -> Mine:
        """The user's reaction on each of these targets."""
        _, codes = await asyncio.gather(self.targets(who, ids), self._codes(user, ids))
        names = self._catalogue.names
        reactions = {} if codes is None else {id_: names[codes.get(id_, NONE)] for id_ in ids}
        return Mine(reactions, codes is None or self._near.degraded())

    async def feed(
        self, who: Principal | None, user: str | None, ids: Sequence[str], *, field: str = "target_ids"
    ) -> Feed:
        """Counts, own reaction and summary of each of these targets."""
        codes: dict[str, int] | None
        if user is None:
            found, codes = await self.targets(who, ids, field=field), {}
        else:
            found, codes = await asyncio.gather(self.targets(who, ids, field=field), self._codes(user, ids))
        recent = {
            name for shown in found.values() if shown.target.header for name, _ in shown.target.header.recent
        }
        users = await self._users(recent)
        names, known = self._catalogue.names, codes or {}
        items = {
            id_: FeedItem(
                shown,
                names[known.get(id_, NONE)],
                self._summary(shown.target, users),
                _route(id_, shown, user),
            )
            for id_, shown in found.items()
        }
        return Feed(items, user is not None and codes is not None, codes is None or self._near.degraded())

    async def _codes(self, user: str, ids: Sequence[str]) -> dict[str, int] | None:
        """The user's reaction codes; None where nobody can tell now, for an absent reaction must not look like none."""
        try:
            return await self._own.mine(user, ids)
        except (Unavailable, Corrupt) as error:
            log.warning("own state is left out of an answer: %s", error)
            return None

    async def reactors(
        self, who: Principal | None, target: str, reaction: str | None, cursor: str | None, limit: int
    ) -> ReactorsPage:
        """Who reacted, newest first; `total` counts all of them, or those with that reaction."""
        shown = (await self.targets(who, [target], field="target_id"))[target]
        counts = shown.target.header.counts if shown.target.header else ()
        codes = [code for code, count in enumerate(counts, 1) if count]
        if reaction is not None:
            wanted = self._catalogue.code(reaction, "type")
            codes = [code for code in codes if code == wanted]
        context = f"reactors {target} {reaction or ''}"
        before = self._cursors.read(context, cursor) if cursor is not None else None
        split = shown.target.header is not None and shown.target.header.lanes > 1
        entries = (
            await self._reactors.reactors(target, codes, before, limit + 1, split=split) if codes else []
        )
        page, after = self._cut(context, entries, limit)
        users = await self._users({entry.key for entry in page})
        total = sum(counts[code - 1] for code in codes)
        reactors = [(users[e.key], self._name(e.reaction), e.created_at) for e in page]
        return ReactorsPage(reactors, after, total)

    async def reacted(self, user: str, cursor: str | None, limit: int) -> ReactedPage:
        """What this user reacted to, newest first."""
        context = f"reacted {user}"
        before = self._cursors.read(context, cursor) if cursor is not None else None
        entries = await self._own.reacted(user, before, limit + 1)
        page, after = self._cut(context, entries, limit)
        return ReactedPage([(e.key, self._name(e.reaction), e.created_at) for e in page], after)

    def _cut(self, context: str, entries: list[Entry], limit: int) -> tuple[list[Entry], str | None]:
        """A page, and the cursor behind it if there is at least one entry more."""
        page = entries[:limit]
        more = len(entries) > limit
        return page, self._cursors.write(context, page[-1].created_at, page[-1].key) if more else None

    async def _users(self, ids: Iterable[str]) -> dict[str, User]:
        profiles = await self._directory.profiles(list(ids)) if ids else {}
        return {id_: _user(id_, profiles.get(id_, _NO_PROFILE)) for id_ in ids}

    def _summary(self, target: Target, users: dict[str, User]) -> Summary:
        header = target.header
        if header is None or not header.total:
            return Summary("", [], 0)
        sample = [users[user] for user, _ in header.recent]
        names = [user.name for user in sample]
        likes = self._catalogue.codes.get("like", 0)
        all_likes = likes > 0 and header.counts[likes - 1 : likes] == (header.total,)
        text = summary_text(names, header.total, all_likes=all_likes)
        return Summary(text, sample, others(names, header.total))

    def _name(self, code: int) -> str:
        return self._catalogue.names[code] or ""


def _route(target: str, shown: Shown, user: str | None) -> str:
    header = shown.target.header
    if user is None or header is None or header.lanes == 1:
        return target
    return route(target, lane_of(user, header.lanes))


def _user(id_: str, profile: Profile) -> User:
    return User(id_, profile.name or id_, profile.avatar_url)


_NO_PROFILE = Profile()
