"""When the owner of a target is told of reactions, and of which ones. Pure; the only place with these rules.

A window opens with the first reaction that is news, and at its end becomes one message. News is a reaction by somebody
who had none, is not the owner, and was not told of lately. What counts is the difference between opening and end: a tap
taken back in between was never there, a switch is no second reaction.

`Watch` is what is remembered of one target between events. Events apply if newer by `seq`, or known to be missing (and
taps by their own time), so lost, doubled, overtaken and replayed ones converge, and a window that is replayed has the
same collapse id.

Times of a target only grow: after a clock was ahead, its taps carry times of the future until that has come. What is
more than a minute ahead counts as made now, and no window that such a clock opened is waited for.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from plaudit.domain.cell import Transition
from plaudit.domain.crowd import counted, reaction_before, split_of_crowd
from plaudit.domain.events import Committed
from plaudit.domain.watch import (
    REACH,
    UNSEEN_CELL,
    CellCounts,
    Seen,
    Watch,
    Window,
    summed,
    without_unsure,
)

SECOND = 1_000_000
MINUTE = 60 * SECOND
JUDGED_S = 30  # no less says how many taps a minute there are
KNOWN = 1_000  # users of a window that are known exactly
TOLD = 1_000  # users that are remembered after they were told of, the newest
LATE = 24 * 3600 * SECOND  # older taps are nobody's news
TOLD_FOR = LATE + SECOND  # at least as long: the time is cut to seconds
GUARD = 600 * SECOND  # so much longer a watch stays, and whom it told of, to recognise replayed events
AHEAD = MINUTE  # clocks may differ by so much; what is further ahead was written by one that was wrong
QUIET_FOR = 25 * 3600 * SECOND  # quiet hours are of one day, on which a clock may be put back
SAMPLE = 20
COLLAPSE_ID_LENGTH = 32  # what a Web Push topic may have (RFC 8030, 5.4); APNs would take 64 bytes
_NOTIFY = frozenset({"tap", "late"})


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How long windows are. The first has `windows_s[0]` seconds, each that follows a message the next value, and after
    `calm_s` without a message it starts again. More than `busy_taps` a minute since it opened extend a window to
    `busy_window_s`: of half a minute half as many, as the first window has no more."""

    windows_s: tuple[int, ...] = (30, 300, 1800)
    calm_s: int = 3600
    busy_taps: int = 100
    busy_window_s: int = 300


class Draft(msgspec.Struct, frozen=True):
    """A message as the window knows it: how many reacted, how many with which reaction, and the newest of them as
    (user, reaction). `window` is the time of opening, which names it."""

    window: int
    total: int
    split: dict[int, int]
    sample: tuple[tuple[str, int], ...]


def follow(watch: Watch, events: Iterable[Committed], owner: str, now: int, pace: Pace) -> Watch:
    """The watch after these events of one target, in their order; the same object where there is nothing to remember.

    `owner` is who would be told, `now` microseconds UTC.
    """
    for event in events:
        known = watch.cells.get(event.bucket, UNSEEN_CELL)
        # What is republished has the number of the last commit, and users of one before it whose event was lost.
        if event.seq > known.seq - (event.cause == "late"):
            watch = _apply(watch, known, event, owner, now, pace)
        elif known.missing >> (known.seq - event.seq) & 1 and event.cause not in ("late", "delete"):
            watch = _overtaken(watch, known, event, owner, now, pace)
    return watch


def close(watch: Watch, owner: str, now: int) -> tuple[Draft | None, Watch]:
    """End the window: the message it makes for `owner`, if any, and the watch without it. `now` is microseconds UTC."""
    window = watch.window
    if window is None:
        return None, watch
    live = [line for line in _news(window) if line[1] != owner]
    split: dict[int, int] = {}
    for _, _, code in live:
        split[code] = split.get(code, 0) + 1
    if window.more:
        split = split_of_crowd((cell.grown for cell in watch.cells.values()), split)
    total = sum(split.values())
    if not total:
        return None, ended(watch)
    told = {user: at for user, at in watch.told.items() if at * SECOND > now - TOLD_FOR - GUARD}
    for _, user, _ in reversed(live):
        told.pop(user, None)
        told[user] = now // SECOND
    after = _with_told(ended(watch), told)
    sample = tuple((user, code) for _, user, code in live[:SAMPLE])
    after = msgspec.structs.replace(after, level=watch.level + 1, message_at=now)
    return Draft(window.opened_at, total, split, sample), after


def newest(watch: Watch) -> list[str]:
    """Users whom a message of the window may name, and one more: its owner is not named."""
    return [user for _, user, _ in _news(watch.window)[: SAMPLE + 1]] if watch.window is not None else []


def ended(watch: Watch) -> Watch:
    """The watch without its window. Of the cells stays what recognises repeated events, and by how much they grew: of a
    crowd with those whose events are still missing, so those were told of."""
    if watch.window is None:
        return watch
    cells = {
        bucket: CellCounts(cell.seq, None, cell.grown, 0 if watch.window.more else cell.missing, cell.sure)
        for bucket, cell in watch.cells.items()
    }
    return Watch(cells, None, watch.level, watch.message_at, watch.told)


def checked(draft: Draft, current: Mapping[str, int]) -> Draft | None:
    """The draft as the ledger has its sample now (user -> reaction, 0 or missing: none). None: nothing is left."""
    split, sample = dict(draft.split), []
    for user, code in draft.sample:
        now = current.get(user, 0)
        if now != code:
            split[code] = split.get(code, 0) - 1
            if now:
                split[now] = split.get(now, 0) + 1
        if now:
            sample.append((user, now))
    split = {code: count for code, count in split.items() if count > 0}
    total = sum(split.values())
    return Draft(draft.window, total, split, tuple(sample)) if total else None


def without(watch: Watch, users: Iterable[str]) -> Watch:
    """The watch without these users, who are being erased, or were not told of after all."""
    gone = {user for user in users if user in watch.told or (watch.window and user in watch.window.seen)}
    if not gone:
        return watch
    told = {user: at for user, at in watch.told.items() if user not in gone}
    window = watch.window
    if window is not None:
        seen = {user: seen for user, seen in window.seen.items() if user not in gone}
        window = msgspec.structs.replace(window, seen=seen)
    return msgspec.structs.replace(watch, told=told, window=window)


def retold(watch: Watch, told: Watch, now: int, pace: Pace) -> Watch:
    """The watch without what its owner was told by a message that it does not know of, because the store forgot it,
    whoever made it died, or taps came meanwhile: `told` is the watch as the last message left it. The same object if
    it knows of that.

    Who has not been told of stays, in a window that is named by the first of them, and is as long as any that follows
    that message. `now` is microseconds UTC.
    """
    if told.message_at <= watch.message_at:
        return watch
    pairs = sorted({**watch.told, **told.told}.items(), key=lambda pair: pair[1])
    cells, window = dict(watch.cells), watch.window
    for bucket, cell in told.cells.items():
        known = cells.get(bucket, cell)
        opened = known.opened
        if opened is not None and window is not None and window.opened_at <= told.message_at:
            opened = summed(opened, cell.counts)  # of users beyond the known ones, that many were told of
        seq = max(known.seq, cell.seq)
        missing = known.missing_by(seq) & cell.missing_by(seq)
        sure = min(REACH, known.sure + seq - known.seq, cell.sure + seq - cell.seq)
        cells[bucket] = CellCounts(seq, opened, known.counts, missing, sure)
    after = _with_told(Watch(cells, window, told.level, told.message_at), dict(pairs))
    if window is None:
        return after
    seen = {user: seen for user, seen in window.seen.items() if user not in told.told}
    news = [seen.at for seen in seen.values() if seen.now and not seen.before]
    more = window.more and bool(split_of_crowd((cell.grown for cell in cells.values()), {}))
    if not news and not more:
        return ended(after)
    opened_at = _by_now(min(news, default=now), now)
    level, closes_at = _begun(after, opened_at, now, pace)
    window = Window(opened_at, max(window.closes_at, closes_at), window.lasted_s, window.taps, seen, more)
    return msgspec.structs.replace(after, window=window, level=level)


def postpone(watch: Watch, until: int) -> Watch:
    """The watch with its window open until then at least."""
    if watch.window is None or watch.window.closes_at >= until:
        return watch
    return msgspec.structs.replace(watch, window=msgspec.structs.replace(watch.window, closes_at=until))


def latest_end(now: int, pace: Pace) -> int:
    """When any window that is open ends at the latest, in microseconds UTC; a later end was set by a clock that was
    ahead."""
    return now + max(*pace.windows_s, pace.busy_window_s) * SECOND + QUIET_FOR


def on_time(watch: Watch, now: int, pace: Pace) -> Watch:
    """The watch whose window ends now if a clock that was ahead opened or postponed it; the same object if none did."""
    window = watch.window
    if window is None or (window.opened_at <= now + AHEAD and window.closes_at <= latest_end(now, pace)):
        return watch
    opened_at = min(window.opened_at, now)
    return msgspec.structs.replace(
        watch, window=msgspec.structs.replace(window, opened_at=opened_at, closes_at=now)
    )


def forget_at(watch: Watch, now: int, pace: Pace) -> int:
    """When a watch without a window has nothing to remember any more, in microseconds UTC."""
    newest = max(watch.told.values(), default=0) * SECOND
    calm = watch.message_at + pace.calm_s * SECOND if watch.message_at else 0
    return max(now + GUARD, calm, newest + TOLD_FOR + GUARD if newest else 0)


def collapse_id(target: str, owner: str, window: int) -> str:
    """What names a message: the same for every repeat of it. 32 characters of base64url (RFC 4648, 5)."""
    digest = hashlib.sha256(f"{target}\0{owner}\0{window}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()[:COLLAPSE_ID_LENGTH]


def _news(window: Window) -> list[tuple[int, str, int]]:
    """Whose reaction in the window is news, as (since when, user, reaction), the newest first."""
    live = ((its.at, user, its.now) for user, its in window.seen.items() if its.now and not its.before)
    return sorted(live, reverse=True)


def _apply(watch: Watch, known: CellCounts, event: Committed, owner: str, now: int, pace: Pace) -> Watch:
    given = watch
    watch = _anew(watch) if event.cause == "delete" else _taken(watch, event, owner, now, pace)
    if watch is given and watch.window is None:
        return watch  # so events that change nothing are not saved
    cell = CellCounts(event.seq, None, ())
    if (window := watch.window) is not None:
        by, late = event.seq - known.seq, event.cause == "late"
        opened, sure = known.opened, known.sure + by if known.sure + by < REACH else REACH
        if opened is None:
            opened, sure = counted(event.counts, event.transitions, back=True), 1
        # What is republished may come any number of times with the same number, and before the event of that.
        if by and (apart := _apart(watch, window, event, owner, now)):
            opened = counted(opened, apart)
        missing = known.missing_by(event.seq) if known.missing or late or by > 1 else 0
        cell = CellCounts(event.seq, opened, event.counts, missing if late else missing & ~1, sure)
        if event.cause == "erase":  # nor may a tap of theirs come behind it
            cell = msgspec.structs.replace(cell, missing=0)
    return _with(watch, event.bucket, cell)


def _overtaken(watch: Watch, known: CellCounts, event: Committed, owner: str, now: int, pace: Pace) -> Watch:
    """The watch after an event that comes behind later ones of its cell. Of one from before the window only that is
    taken which would have opened it; if it came before, that was all there was to remember."""
    behind, opened = known.seq - event.seq, known.opened
    unsure = behind >= known.sure
    if unsure and event.cause == "erase":
        return without(watch, [transition.user for transition in event.transitions])
    if event.cause in _NOTIFY and (unsure or opened is None):
        taps = tuple(tap for tap in event.transitions if _would_open(watch, tap, owner, now))
        event = msgspec.structs.replace(event, transitions=taps)
    if unsure and not (event.cause in _NOTIFY and event.transitions):
        return watch
    watch = _taken(watch, event, owner, now, pace)
    if opened is not None and (window := watch.window) is not None:
        apart = _apart(watch, window, event, owner, now)
        if unsure:  # they are in the counts at the opening
            apart = [tap for tap in event.transitions if tap not in apart]
        opened = counted(opened, apart, back=unsure)
    cell = CellCounts(known.seq, opened, known.counts, known.missing & ~(1 << behind), known.sure)
    return _with(watch, event.bucket, cell)


def _taken(watch: Watch, event: Committed, owner: str, now: int, pace: Pace) -> Watch:
    """The watch with what the event says of users."""
    if event.cause == "erase":
        return without(watch, [transition.user for transition in event.transitions])
    if event.cause in _NOTIFY:
        watch = _unshared(on_time(watch, now, pace))
        for transition in event.transitions:
            if transition.user != owner:
                watch = _tap(watch, transition, now, pace)
    return watch


def _with_told(watch: Watch, told: dict[str, int]) -> Watch:
    """The watch with the newest of them. What was no news because the owner was told of others is not to come again."""
    cells = watch.cells
    if len(told) > TOLD:
        told = dict(list(told.items())[-TOLD:])
        cells = {bucket: without_unsure(cell) for bucket, cell in cells.items()}
    return Watch(cells, watch.window, watch.level, watch.message_at, told)


def _with(watch: Watch, bucket: int, cell: CellCounts) -> Watch:
    cells = {**watch.cells, bucket: cell}
    return Watch(cells, watch.window, watch.level, watch.message_at, watch.told)


def _unshared(watch: Watch) -> Watch:
    """The watch with users in its window that may be changed: one copy for an event, and not one for each tap."""
    if watch.window is None:
        return watch
    window = msgspec.structs.replace(watch.window, seen=dict(watch.window.seen))
    return Watch(watch.cells, window, watch.level, watch.message_at, watch.told)


def _tap(watch: Watch, tap: Transition, now: int, pace: Pace) -> Watch:
    """One user's change: it opens the window, is one more in it, or changes nothing. The watch is `_unshared`."""
    window, before = watch.window, reaction_before(tap)
    if window is None:
        news = tap.after and not before and not _is_past(watch, tap, now)
        return _opened(watch, tap, now, pace) if news else watch
    # Whatever order they come in: events of several lanes do not come in that of their times.
    lasted_s = max(window.lasted_s, (_by_now(tap.at, now) - window.opened_at) // SECOND)
    taps, closes_at, more, seen = window.taps + 1, window.closes_at, window.more, window.seen
    if taps * 60 > pace.busy_taps * max(lasted_s, JUDGED_S):
        closes_at = max(closes_at, window.opened_at + pace.busy_window_s * SECOND)
    there = seen.get(tap.user)
    if there is not None:
        if tap.at > there.at:
            seen[tap.user] = Seen(there.before, tap.after, tap.at)
        elif there.before and tap.before == 0:  # it was overtaken by their next one
            seen[tap.user] = Seen(0, there.now, there.at)
    elif not _is_past(watch, tap, now) and (not before or tap.at >= window.opened_at):
        if len(seen) < KNOWN:
            seen[tap.user] = Seen(before, tap.after, tap.at)
        else:
            more = more or (not before and tap.after > 0)
    window = Window(window.opened_at, closes_at, lasted_s, taps, seen, more)
    return Watch(watch.cells, window, watch.level, watch.message_at, watch.told)


def _opened(watch: Watch, tap: Transition, now: int, pace: Pace) -> Watch:
    opened_at = _by_now(tap.at, now)
    level, closes_at = _begun(watch, opened_at, now, pace)
    window = Window(opened_at, closes_at, 0, 1, {tap.user: Seen(0, tap.after, tap.at)}, False)
    return Watch(watch.cells, window, level, watch.message_at, watch.told)


def _by_now(at: int, now: int) -> int:
    """When something was done, by our clock where its own was ahead. Else by its own: what is replayed names the same
    window."""
    return at if at <= now + AHEAD else now


def _begun(watch: Watch, opened_at: int, now: int, pace: Pace) -> tuple[int, int]:
    """The level of a window that opens then, and when it ends."""
    since = opened_at - watch.message_at
    calm = not watch.message_at or since >= pace.calm_s * SECOND or watch.message_at > now + AHEAD
    level = 0 if calm else watch.level
    return level, opened_at + pace.windows_s[min(level, len(pace.windows_s) - 1)] * SECOND


def _anew(watch: Watch) -> Watch:
    """Without all that happened: what is told under this name from now on is of another target."""
    if watch.window is None and not (watch.told or watch.message_at):
        return watch
    return Watch(ended(watch).cells)


def _is_past(watch: Watch, tap: Transition, now: int) -> bool:
    """Whether it comes a day late, or its user was told of on the day before it: what was no news is none either when
    it is read again."""
    told = watch.told.get(tap.user)
    return tap.at <= now - LATE or (told is not None and told * SECOND > _by_now(tap.at, now) - TOLD_FOR)


def _would_open(watch: Watch, tap: Transition, owner: str, now: int) -> bool:
    """Whether it would have opened the window, had it come in time, or is of somebody who would."""
    if tap.user == owner or _is_past(watch, tap, now):
        return False
    there = watch.window.seen.get(tap.user) if watch.window is not None else None
    return tap.before == 0 or (there is not None and tap.at > there.at)


def _apart(watch: Watch, window: Window, event: Committed, owner: str, now: int) -> list[Transition]:
    return [tap for tap in event.transitions if _is_apart(watch, window, tap, owner, now)]


def _is_apart(watch: Watch, window: Window, tap: Transition, owner: str, now: int) -> bool:
    """Whether it is nobody's news, however many came. Of users beyond the known ones only a switch is known to be none;
    of a reaction of this window it moves the split."""
    if (there := window.seen.get(tap.user)) is not None:
        return there.before > 0
    if tap.user == owner or _is_past(watch, tap, now):
        return True
    return reaction_before(tap) > 0 and tap.after > 0 and tap.created_at < window.opened_at
