"""The near cache: targets as this process last saw them, ready to be shown.

Guarantees: an entry is never older than a commit this process has answered, and of two states the one with the higher
`seq` stays. A tap's commit puts the new state in at once; everything else is read when asked for, once however many
ask: what comes of that read, also its failure, is for all of them. But a target that cannot be read fails only those
who asked for it, and they are told which it is. Bounded: the target that was put in longest ago leaves first.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from plaudit.domain.catalogue import DEFAULT_TYPE, MAX_CODE, Catalogue
from plaudit.domain.cell import Header
from plaudit.domain.errors import Corrupt
from plaudit.ports.ledger import Target
from plaudit.ports.lists import Counters
from plaudit.services.readable import apart


class Shown(msgspec.Struct, gc=False):
    """One target as it is shown. `member` is COUNTS as JSON with the target's id in front.

    All but `seen_s` stays as it is.
    """

    target: Target
    seq: int
    guarded: bool  # seen only with a grant
    public: bool  # seen without a token
    member: bytes
    seen_s: float = 0.0  # when it was known to be true, by a cache whose entries age

    @property
    def counts(self) -> bytes:
        """COUNTS as JSON; cut out when needed, for there are many targets, and calls for counts want `member`."""
        return self.member[self.member.index(b":{") + 1 :]

    @property
    def closed(self) -> bool:
        """Whether reactions cannot be given: the host app closed the target, or it is deleted."""
        header, registration = self.target.header, self.target.registration
        return bool((registration and registration.closed) or (header and header.deleted))


_Ended = (
    float | Exception | None
)  # of a read: when it was, or why there is none; None: whoever read has gone away


class Counts:
    """Writes COUNTS of the API: every reaction that may be given, and every other one that somebody still has."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._templates: dict[int, tuple[bytes, tuple[int, ...]]] = {}

    def json(self, target: Target) -> bytes:
        """COUNTS of a target, as JSON."""
        header = target.header or _NOBODY
        counts = header.counts
        mask = self._catalogue.allowed(header.type or DEFAULT_TYPE, target.registration)
        given = len(counts)
        if ~mask & _FIRST[given]:  # somebody may have one that may not be given any more
            for code, count in enumerate(counts, 1):
                if count:
                    mask |= 1 << code
        template, codes = self._templates.get(mask) or self._template(mask)
        values = [counts[code - 1] if code <= given else 0 for code in codes]
        return template % (sum(counts), *values, header.seq, header.lanes)

    def _template(self, mask: int) -> tuple[bytes, tuple[int, ...]]:
        """The text around the numbers, and whose numbers go into it; there are few different ones."""
        codes = tuple(code for code in range(1, MAX_CODE + 1) if mask >> code & 1)
        reactions = ",".join(f'"{self._catalogue.names[code]}":%d' for code in codes)
        text = f'{{"total":%d,"reactions":{{{reactions}}},"version":%d,"lanes":%d}}'.encode()
        self._templates[mask] = text, codes
        return text, codes


_NOBODY = Header()
_FIRST = tuple((1 << codes + 1) - 2 for codes in range(MAX_CODE + 1))
"""The mask of so many codes from 1 on."""


class NearCache:
    """Targets by id. Lives on the event loop; no other thread may touch it."""

    def __init__(
        self,
        counters: Counters,
        catalogue: Catalogue,
        *,
        entries: int,
        public: bool,
        degraded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._counters = counters
        self._catalogue = catalogue
        self._counts = Counts(catalogue)
        self.fingerprint = catalogue.fingerprint
        self.degraded = degraded
        """Whether what is read comes from somewhere slower than it should for now, and may be older."""
        self._time_s: Callable[[], float] = float  # for `seen_s`: no time, which never ages
        self._entries = entries
        self._public = public
        # Ordered, because taking the oldest out of a plain dict gets slower with each one taken.
        self._shown: OrderedDict[str, Shown] = OrderedDict()
        self._loading: dict[str, asyncio.Future[_Ended]] = {}
        self.watched: set[str] = set()
        """Targets somebody listens to; only they are noted in `changed`."""
        self.changed: set[str] = set()
        """Those of them that were put in or forgotten since the last `take_changed()`."""
        self.get: Callable[[str], Shown | None] = self._shown.get

    def forget(self, target_id: str) -> None:
        """Nobody knows whether a commit happened: the next one to ask reads."""
        self._loading.pop(target_id, None)
        self._shown.pop(target_id, None)
        if target_id in self.watched:
            self.changed.add(target_id)

    def forget_all(self) -> None:
        """A commit was made of which nobody was told, and nobody knows of which target: every one is read again."""
        for target_id in {*self._loading, *self._shown}:
            self.forget(target_id)

    def take_changed(self) -> set[str]:
        """The watched targets whose state may have changed since the last call."""
        changed, self.changed = self.changed, set()
        return changed

    def __len__(self) -> int:
        return len(self._shown)

    def publish(self, target_id: str, target: Target) -> Shown:
        """A commit made this state: show it, unless a newer one is shown already."""
        self._loading.pop(target_id, None)  # what is being read may be older than this
        known = self._shown.get(target_id)
        if known is not None and target.header is not None and known.seq > target.header.seq:
            # Of a split target it has seen more, but perhaps not this very commit, which its own answer must show.
            return known if target.header.lanes == 1 else self._show(target_id, target)
        return self._put(target_id, target)

    def all(self, ids: Sequence[str]) -> list[Shown] | None:
        """These targets, in this order, if all of them are here."""
        found = [shown for id_ in ids if (shown := self._shown.get(id_)) is not None]
        return found if len(found) == len(ids) else None

    async def load(self, ids: Sequence[str]) -> dict[str, Shown]:
        """These targets, in this order; what is not here is read, in one read, once however many ask. Raises `Corrupt`,
        which names those of them that cannot be read, and whatever else reading does."""
        found = {id_: self.get(id_) for id_ in ids}
        missing = [id_ for id_, shown in found.items() if shown is None]
        if missing:
            try:
                found.update(await self._load(missing))
            except Corrupt as error:  # one read may have been for several who asked: each hears of their own
                damaged = [id_ for id_ in ids if id_ in error.targets]
                raise Corrupt(str(error), targets=damaged) from error
        return found  # type: ignore[return-value] # every None was replaced

    async def _load(self, ids: list[str]) -> dict[str, Shown]:
        others = {id_: future for id_ in ids if (future := self._loading.get(id_))}
        if not others:
            return await self._read(ids)
        mine = [id_ for id_ in ids if id_ not in others]
        result = await self._read(mine) if mine else {}
        left = []
        for id_, future in others.items():
            ended = await asyncio.shield(future)  # who goes away must not cancel what others wait for
            if isinstance(ended, Exception) and not (isinstance(ended, Corrupt) and id_ not in ended.targets):
                raise ended
            shown = self.get(id_) or self._seen(id_, ended)
            if shown is None:  # whoever read it has gone away, or nobody knows any more
                left.append(id_)
            else:
                result[id_] = shown
        if left:
            result.update(await self._load(left))
        return result

    def _seen(self, target_id: str, read_s: _Ended) -> Shown | None:
        """What a read that ended then has found, if that is still to be believed; it may be too old for others."""
        shown = self._shown.get(target_id)
        if shown is None or read_s is None or isinstance(read_s, Exception):
            return None
        return shown if shown.seen_s >= read_s else None

    async def _read(self, ids: list[str]) -> dict[str, Shown]:
        done: asyncio.Future[_Ended] = asyncio.get_running_loop().create_future()
        self._loading.update(dict.fromkeys(ids, done))
        ended: _Ended = None
        try:
            stored, damaged = await apart(self._counters, ids)
            ended = Corrupt("targets cannot be read", targets=damaged) if damaged else self._time_s()
        except Exception as error:
            ended = error
            raise
        finally:
            still = [id_ for id_ in ids if self._loading.get(id_) is done]
            for id_ in still:
                del self._loading[id_]
            done.set_result(ended)
        fresh, good = set(still), [id_ for id_ in ids if id_ not in damaged]
        taken = {id_: self._take(id_, stored.get(id_, _NOTHING), fresh=id_ in fresh) for id_ in good}
        if isinstance(ended, Corrupt):
            raise ended
        return taken

    def _take(self, target_id: str, target: Target, *, fresh: bool) -> Shown:
        """What a read found. Not `fresh`: a commit since it began has put a newer state in."""
        if fresh:
            return self._put(target_id, target)
        return self._shown.get(target_id) or self._show(target_id, target)

    def _put(self, target_id: str, target: Target) -> Shown:
        shown = self._show(target_id, target)
        self._shown[target_id] = shown
        self._shown.move_to_end(target_id)
        if len(self._shown) > self._entries:
            self._shown.popitem(last=False)
        if target_id in self.watched:
            self.changed.add(target_id)
        return shown

    def _show(self, target_id: str, target: Target) -> Shown:
        header, registration = target.header or _NOBODY, target.registration
        type_name = registration.type if registration else header.type
        guarded = bool(type_name) and self._catalogue.needs_grant(type_name)
        member = b'"%b":%b' % (target_id.encode(), self._counts.json(target))
        return Shown(target, header.seq, guarded, self._public and not guarded, member, self._time_s())


_NOTHING = Target()
