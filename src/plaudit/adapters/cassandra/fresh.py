"""Pushes that this process has just written: it knows all of them, and claims them without reading.

A shortcut and nothing more. Each is in Cassandra before it is here, and is found there as soon as it is not here any
more: because there were too many, because it waited too long, or because the process has died.
"""

from collections.abc import Collection, Iterable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

from plaudit.adapters.cassandra.pushes import SECOND, Line, Place
from plaudit.ports.notifications import Channel, Notification

MOST = 10_000  # of each channel: 1 to 4 KB each
KEEP_US = 60 * SECOND


class Known(NamedTuple):
    """A push, its message, and where it is kept."""

    line: Line
    message: Notification
    place: Place


def known_push(line: Line, message: Notification) -> Known:
    """A push under way and its message."""
    return Known(line, message, line.place)


class Fresh:
    """See the module. Lives on the event loop."""

    def __init__(self, most: int = MOST) -> None:
        self._shards: frozenset[int] = frozenset()
        self._most = most
        self._ready: dict[Channel, list[tuple[int, int, int, Known]]] = {}  # heaps, the oldest first
        self._places: set[Place] = set()
        self._number = count()

    def __contains__(self, place: object) -> bool:
        """Whether a push is here, or is being written: then it is not to be claimed by reading."""
        return place in self._places

    def hold(self, shards: Collection[int]) -> None:
        """These are ours, and others claim what is in the rest: of a shard that comes back nothing is known."""
        if lost := self._shards.difference(shards):
            for channel, ready in self._ready.items():
                gone = {entry[-1].place for entry in ready if entry[-1].place.shard in lost}
                self._places -= gone
                stay = [entry for entry in ready if entry[-1].place not in gone]
                heapify(stay)
                self._ready[channel] = stay
        self._shards = frozenset(shards)

    def writing(self, known: Iterable[Known]) -> None:
        """These are being written."""
        self._places.update(its.place for its in known)

    def failed(self, known: Iterable[Known]) -> None:
        """These may be there or not."""
        self._places.difference_update(its.place for its in known)

    def written(self, known: Iterable[Known]) -> None:
        """These are there, and their messages too."""
        for its in known:
            ready = self._ready.setdefault(its.line.channel, [])
            if its.place.shard in self._shards and len(ready) < self._most:
                self._keep(ready, its)
            else:
                self._places.discard(its.place)

    def take(self, channel: Channel, now: int, limit: int) -> list[Known]:
        """Up to `limit` that are due, the oldest first. They are not here any more: claim them, or give them back."""
        ready, found = self._ready.get(channel, []), list[Known]()
        while ready and len(found) < limit and ready[0][0] <= now:
            its = heappop(ready)[-1]
            place = its.place
            self._places.discard(place)
            if place.due > now - KEEP_US:
                found.append(its)
        return found

    def give_back(self, known: Iterable[Known]) -> None:
        """These were not claimed after all. Of a shard that was lost meanwhile they are for others."""
        for its in known:
            if its.place.shard in self._shards:
                self._keep(self._ready.setdefault(its.line.channel, []), its)

    def _keep(self, ready: list[tuple[int, int, int, Known]], its: Known) -> None:
        place = its.place
        self._places.add(place)
        heappush(ready, (place.due, place.no, next(self._number), its))
