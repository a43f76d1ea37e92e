"""Stream: tells listeners the counts of their targets whenever these change.

One poller for all: it looks which watched targets have changed, and gives the listeners behind their turns. Guarantees:
a listener's first event is a snapshot of all its targets, each later one holds those that changed since, as they are at
that moment; never more than four a second, and each within a second of the change, because turns are shared out over
`ROUND_S`, so that a crowd costs the same at every moment and nobody else waits for it. What a slow reader has not taken
yet is never queued: its next event is of then. The event about one target is written once for all who get it.

Lives on the event loop. Knows neither HTTP nor tokens: a stream to a target whose access changes ends, and whoever
comes back is asked anew.
"""

import asyncio
import heapq
import logging
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import Self

from plaudit.domain.errors import Overloaded, PlauditError
from plaudit.ports.clock import Clock
from plaudit.services.near import NearCache, Shown
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit.stream")

TICK_S = 0.01
SHORT_TICK_S = (
    0.0025  # while some wait for their turn: a few turns often hold other calls up less than many at once
)
GAP_S = 0.25  # between two events of one listener
ROUND_S = 0.8  # in which every listener has its turn, however many: with it a change is seen within a second
HEARTBEAT_S = 15.0  # proxies close what is silent for 30 to 60 s
EVENTS_PER_S = 4000  # this many are no burden, so few listeners need not wait for a whole round
LONGEST_TICK_S = 0.05  # what a stalled loop missed is not made up for in one go
RELOAD_AFTER_S = 1.0
MOST_TARGETS = 100  # of one stream
TARGETS_PER_STREAM = 4  # on average, of those that nobody else listens to; about 1 KB each
RETRY_AFTER_S = range(5, 15)  # those refused together must not come back together

OPENING = b"retry: 3000\n\n"
HEARTBEAT = b":\n\n"
EVENT = b'event: counts\ndata: {"counts":{%b},"degraded":%b}\n\n'


def _event(channels: Sequence["Channel"], *, degraded: bool) -> bytes:
    members = b",".join([channel.shown.member for channel in channels])
    return EVENT % (members, b"true" if degraded else b"false")


class Channel:
    """A watched target: what is shown of it, and who listens."""

    __slots__ = ("_event", "id", "idle", "listeners", "seq", "shown")

    def __init__(self, id_: str, shown: Shown) -> None:
        self.id = id_
        self.shown = shown
        self.seq = shown.seq  # those who have an older state than this have been told to take it
        self.listeners: set[Listener] = set()
        self.idle: dict[Listener, int] = {}  # who waits for the next change, and the `seq` they have
        self._event: bytes | None = None

    def take(self, shown: Shown | None) -> None:
        """This is the newest state in the near cache, if it is newer than what is here and as visible."""
        if shown is not None and shown.seq > self.shown.seq and not self.hidden(shown):
            self.shown, self._event = shown, None

    def hidden(self, shown: Shown) -> bool:
        """Whether who may see this target has changed."""
        return (shown.public, shown.guarded) != (self.shown.public, self.shown.guarded)

    def event(self, *, degraded: bool) -> bytes:
        """The event about this target alone, written once."""
        if degraded:
            return _event([self], degraded=True)
        if self._event is None:
            self._event = _event([self], degraded=False)
        return self._event

    def behind(self) -> list["Listener"]:
        """Those who have not seen the state of `seq`; they wait no longer."""
        behind = [listener for listener, seq in self.idle.items() if seq < self.seq]
        if len(behind) == len(self.idle):
            self.idle.clear()
        else:
            for listener in behind:
                del self.idle[listener]
        return behind


class Listener:
    """One open stream: `next()` until it is over."""

    __slots__ = (
        "_channels",
        "_streams",
        "_waker",
        "closed",
        "fresh",
        "holder",
        "last_s",
        "owed",
        "pending",
        "queued",
    )

    def __init__(self, streams: "Streams", holder: str | None, channels: list[Channel], now_s: float) -> None:
        self._streams = streams
        self._channels = channels
        self._waker: asyncio.Future[None] | None = None
        self.holder = holder
        self.pending = list(channels)
        self.owed = True  # its turn came while it was busy; at first, because the snapshot is due
        self.queued = False
        self.closed = False
        self.fresh = True
        self.last_s = now_s  # when it last had something to take

    async def next(self) -> bytes | None:
        """What to send next, whenever there is something; None at the end. To be called by one task only."""
        if not self.owed and not self.closed:
            self._waker = asyncio.get_running_loop().create_future()
            await self._waker
        if self.closed:
            return None
        self.owed = False
        chunk = self._streams.sent(self)
        if self.fresh:
            self.fresh = False
            return OPENING + chunk
        return chunk

    def turn(self) -> bool:
        """Its turn has come; False if it has not even taken its last event."""
        if self._waker is None or self._waker.done():
            self.owed = True
            return False
        self._waker.set_result(None)
        return True

    def close(self) -> None:
        """It is over. Idempotent."""
        if not self.closed:
            self.closed = True
            self._streams.gone(self, self._channels)
            if self._waker is not None and not self._waker.done():
                self._waker.set_result(None)


class Streams:
    """All open streams of this process, at most `max_streams`. As an async context manager it runs the poller."""

    def __init__(self, near: NearCache, clock: Clock, metrics: Metrics, *, max_streams: int) -> None:
        self._near = near
        self._clock = clock
        self._metrics = metrics
        self._max_streams = max_streams
        self._channels: dict[str, Channel] = {}
        self._holders: Counter[str] = Counter()
        self._silent: OrderedDict[Listener, None] = (
            OrderedDict()
        )  # every listener, who was told longest ago first
        self._turns: list[tuple[float, int, Listener]] = []  # who is behind: a heap by when their turn is due
        self._numbers = count()
        self._refused = 0
        self._last_s = clock.monotonic_s()
        self._someone = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self.stopping = False

    async def __aenter__(self) -> Self:
        self._poller = asyncio.create_task(self._poll())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        tasks = [task for task in (self._poller, self._reloading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __len__(self) -> int:
        return len(self._silent)

    def stop(self) -> None:
        """End every stream, and begin no other."""
        self.stopping = True
        for listener in list(self._silent):
            listener.close()

    def admit(self) -> None:
        """Raises `Overloaded` if there is no room for one more stream."""
        if self.stopping:
            raise Overloaded("This process is stopping; the next one will take it.", code="unavailable")
        if len(self._silent) >= self._max_streams:
            raise self._no_room("Too many streams are open; ask for the counts now and then instead.")

    def open(self, targets: Mapping[str, Shown], holder: str | None, max_per_holder: int) -> Listener:
        """Listen to these targets. `holder` is a user or an address that may have so many streams (0: no limit).

        Raises `Overloaded`.
        """
        self.admit()
        if holder is not None and max_per_holder and self._holders[holder] >= max_per_holder:
            raise self._no_room(f"One may have at most {max_per_holder} streams open; close one of them.")
        new = sum(id_ not in self._channels for id_ in targets)
        # Ids are easily made up, a hundred for each stream: without a bound they would take more than the streams.
        if new and len(self._channels) + new > self._max_streams * TARGETS_PER_STREAM + MOST_TARGETS:
            raise self._no_room(
                "Too many different targets are listened to; ask for the counts now and then instead."
            )
        channels = [self._channel(id_, shown) for id_, shown in targets.items()]
        listener = Listener(self, holder, channels, self._clock.monotonic_s())
        for channel in channels:
            channel.listeners.add(listener)
        if holder is not None:
            self._holders[holder] += 1
        self._silent[listener] = None
        self._someone.set()
        return listener

    def _no_room(self, message: str) -> Overloaded:
        self._refused += 1
        return Overloaded(message, retry_after_s=RETRY_AFTER_S[self._refused % len(RETRY_AFTER_S)])

    def _channel(self, id_: str, shown: Shown) -> Channel:
        channel = self._channels.get(id_)
        if channel is None:
            channel = self._channels[id_] = Channel(id_, shown)
            self._near.watched.add(id_)
        return channel

    def gone(self, listener: Listener, channels: list[Channel]) -> None:
        """A listener is closed."""
        for channel in channels:
            channel.listeners.discard(listener)
            channel.idle.pop(listener, None)
            if not channel.listeners:
                del self._channels[channel.id]
                self._near.watched.discard(channel.id)
        if listener.holder is not None:
            self._holders[listener.holder] -= 1
            if not self._holders[listener.holder]:
                del self._holders[listener.holder]
        del self._silent[listener]

    def sent(self, listener: Listener) -> bytes:
        """The event this listener is to get now; it counts as told."""
        self._heard(listener, self._clock.monotonic_s())
        channels = listener.pending
        if not channels:
            return HEARTBEAT
        listener.pending = []
        for channel in channels:
            channel.take(self._near.get(channel.id))
            channel.idle[listener] = channel.shown.seq
        self._metrics.stream_events += 1
        if len(channels) == 1:
            return channels[0].event(degraded=self._near.degraded())
        return _event(channels, degraded=self._near.degraded())

    def _heard(self, listener: Listener, now_s: float) -> None:
        listener.last_s = now_s
        self._silent.move_to_end(listener)

    def poll(self) -> list[str]:
        """Note what has changed, and give those behind their turns; returns the targets to be read again."""
        now_s = self._clock.monotonic_s()
        missing = self._note(now_s)
        passed_s = min(now_s - self._last_s, LONGEST_TICK_S)
        self._last_s = now_s
        turns = int(passed_s * max(EVENTS_PER_S, len(self._silent) / ROUND_S)) + 1
        while turns and self._turns and self._turns[0][0] <= now_s:
            listener = heapq.heappop(self._turns)[2]
            listener.queued = False
            if not listener.closed:
                turns -= 1
                self._metrics.stream_slow += not listener.turn()
        while turns and self._silent:
            listener = next(iter(self._silent))
            if listener.last_s + HEARTBEAT_S > now_s:
                break
            turns -= 1
            self._heard(listener, now_s)
            listener.turn()
        return missing

    def _note(self, now_s: float) -> list[str]:
        """Put those in line who listen to what has changed."""
        missing = []
        changed = self._near.take_changed()
        for id_ in changed:
            channel = self._channels.get(id_)
            if channel is None:
                continue
            shown = self._near.get(id_)
            if shown is None:
                missing.append(id_)
            elif channel.hidden(shown):
                for listener in list(channel.listeners):
                    listener.close()
            elif shown.seq > channel.seq:
                channel.take(shown)
                channel.seq = shown.seq
                for listener in channel.behind():
                    listener.pending.append(channel)
                    self._line_up(listener, now_s)
        return missing

    def _line_up(self, listener: Listener, now_s: float) -> None:
        if not listener.queued:
            listener.queued = True
            due_s = max(now_s, listener.last_s + GAP_S)
            heapq.heappush(self._turns, (due_s, next(self._numbers), listener))

    async def _poll(self) -> None:
        while True:
            if not self._silent:
                self._someone.clear()
                await self._someone.wait()
            await asyncio.sleep(SHORT_TICK_S if self._turns else TICK_S)
            try:
                missing = self.poll()
            except Exception:  # a fault with one target must not silence all
                log.exception("streams: a round failed")
                continue
            if missing:
                self._reloading = asyncio.create_task(self._reload(missing, self._reloading))

    async def _reload(self, ids: list[str], before: asyncio.Task[None] | None) -> None:
        """Read what nobody knows since a commit whose outcome is unknown; the near cache then says it has changed."""
        if before is not None:
            await asyncio.wait({before})  # whatever became of it
        try:
            await self._near.load(ids)
        except PlauditError:
            await asyncio.sleep(RELOAD_AFTER_S)
            self._near.changed.update(ids)
