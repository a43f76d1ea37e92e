"""The directory where many processes write: registrations as commits of their cells, profiles behind a small cache.

Names are asked for with every page, and by every process, so they may be a minute old.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence

from plaudit.domain import removal
from plaudit.domain.catalogue import Registration
from plaudit.domain.errors import Conflict
from plaudit.domain.lanes import merge
from plaudit.ports.cells import CellKey, CellState, Proposal
from plaudit.ports.clock import Clock
from plaudit.ports.directory import Profile
from plaudit.ports.ledger import Target
from plaudit.ports.users import Marks, Profiles
from plaudit.services.alter import Alter, Change
from plaudit.services.follow import Follow
from plaudit.services.lanes import headers

PROFILE_AGE_S = 60.0
PROFILES = 50_000


class CellDirectory:
    """See `plaudit.ports.directory.Directory`. Lives on the event loop.

    `profiles` costs one stage of reads of those that are not in the cache; what this process put is shown at once,
    what others put within `age_s` seconds.
    """

    def __init__(
        self,
        alter: Alter,
        profiles: Profiles,
        marks: Marks,
        clock: Clock,
    ) -> None:
        self._alter = alter
        self._follow = Follow(alter)
        self._profiles = profiles
        self._marks = marks
        self._clock = clock
        self._cached: OrderedDict[str, tuple[float, Profile | None]] = OrderedDict()
        self._writes = 0
        self._last_at = 0

    async def register(self, target: str, registration: Registration, kept: Collection[str] = ()) -> Target:
        key, told = CellKey(target), registration

        def decide(state: CellState) -> Change | None:
            its_type = state.header.type if state.header is not None else ""
            registration = told.keeping(kept, state.registration, its_type)
            if state.header is not None and state.registration == registration:
                return None
            header = removal.register(state.header, registration.type)
            return Change(Proposal(state.seq, header, {}, registration, lanes=header.lanes))

        look = self._alter.by_name(key)
        altered = await self._alter.commit(key, "repair", look, decide, split_too=True)
        # Also where it was found as wanted: whoever registered it may have died before its lanes followed.
        return await self._follow.all_lanes(target, altered.target, "repair")

    async def registered(self, target: str) -> Target:
        state = await self._alter.cells.read(CellKey(target), ())
        header = state.header
        if header is not None and header.lanes > 1:
            header = merge(*await headers(self._alter.cells, target))
        return Target(header, state.registration)

    async def put_profile(self, user: str, profile: Profile) -> None:
        # Before asking whether the user is erased, so that a mark made meanwhile hides what is put.
        self._last_at = at = max(self._clock.now_us(), self._last_at + 1)
        if await self._marks.marked_at(user) is not None:
            raise Conflict(f"user {user} was erased; an erased id is never used again")
        try:
            await self._profiles.put(user, profile, at)
        finally:
            self.forget(user)

    async def profiles(self, users: Sequence[str]) -> dict[str, Profile]:
        now_s, writes = self._clock.monotonic_s(), self._writes
        found: dict[str, Profile | None] = {}
        for user in users:
            until_s, profile = self._cached.get(user, _NEVER)
            if until_s > now_s:
                found[user] = profile
        missing = list(dict.fromkeys(user for user in users if user not in found))
        if missing:
            stored = await self._profiles.get(missing)
            for user in missing:
                found[user] = stored.get(user)
            if writes == self._writes:  # else what was read may be older than what was put
                self._remember(missing, stored, now_s + PROFILE_AGE_S)
        return {user: profile for user, profile in found.items() if profile is not None}

    def forget(self, user: str) -> None:
        """Ask for this user's profile the next time: it was put, or the user erased."""
        self._writes += 1
        self._cached.pop(user, None)

    def _remember(self, users: Sequence[str], stored: dict[str, Profile], until_s: float) -> None:
        for user in users:
            self._cached[user] = until_s, stored.get(user)
            self._cached.move_to_end(user)
        while len(self._cached) > PROFILES:
            self._cached.popitem(last=False)


_NEVER: tuple[float, Profile | None] = (float("-inf"), None)
