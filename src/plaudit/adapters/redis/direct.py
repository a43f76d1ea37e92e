"""Values of many keys, straight from the masters that have them.

Of all that Redis is asked this is by far the most, and a call of the driver costs three times as much for each key, for
to the cluster every key is a command of its own. So GETs go to each master in one piece over a connection of ours, and
whatever is not simply a value (an error, a lost connection, a slot that moved, a master nobody is connected to yet) is
asked of the driver, which knows what to do. Nothing is written here. See docs/decisions/0059.
"""

import asyncio
import binascii
import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import hiredis

from plaudit.domain.errors import PlauditError, Unavailable

log = logging.getLogger("plaudit.redis")

SLOTS = 16_384
GRACE_S = 0.02  # where this process came late, answers may be there that it has not seen yet
LOOK_EVERY_S = 1.0  # at who has which slots, while something is not as it was

Values = list[bytes | None]
_Answer = asyncio.Future[list[Any] | None]


class Span(NamedTuple):
    """Slots from `first` to `last`, and the address of their master."""

    first: int
    last: int
    host: str
    port: int


class Entry(NamedTuple):
    """How to begin a connection: the commands, and TLS where there is some."""

    commands: Sequence[Sequence[str]]
    tls: ssl.SSLContext | None
    within_s: float


class Direct:
    """See the module. `driver` answers what is not answered here, `masters` says where the slots are, and both raise
    `Unavailable`. Use as an async context manager, on one loop."""

    def __init__(
        self,
        driver: Callable[[list[str]], Awaitable[Values]],
        masters: Callable[[], Awaitable[Iterable[Span]]],
        entry: Entry,
        answer_within_s: float,
    ) -> None:
        self._driver = driver
        self._masters = masters
        self._entry = entry
        self._answer_within_s = answer_within_s
        self._wires: dict[tuple[str, int], _Wire] = {}
        self._of_slot: list[_Wire | None] = [None] * SLOTS
        self._refused: set[tuple[str, int]] = set()  # addresses, since the last connection to them
        self._looking: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for wire in self._wires.values():
            wire.close()

    async def get(self, keys: list[str]) -> Values:
        """The values of these keys, in their order. Raises `Unavailable`."""
        values: Values = [None] * len(keys)
        left = await self._ask([key.encode() for key in keys], values)
        if left:
            self._look()
            for n, value in zip(left, await self._driver([keys[n] for n in left]), strict=True):
                values[n] = value
        return values

    async def _ask(self, keys: list[bytes], values: Values) -> list[int]:
        """Put in the values that masters answer; the places of the keys that are left."""
        lots: dict[_Wire, list[int]] = {}
        left: list[int] = []
        for n, key in enumerate(keys):
            wire = self._of_slot[slot_of(key)]
            if wire is None or wire.lost:
                left.append(n)
            elif (lot := lots.get(wire)) is not None:
                lot.append(n)
            else:
                lots[wire] = [n]
        asked = {wire: wire.ask([_GET % (len(keys[n]), keys[n]) for n in lot]) for wire, lot in lots.items()}
        await self._answered(asked)
        for wire, answer in asked.items():
            told = answer.result()
            if told is None:
                left += lots[wire]
                continue
            for n, value in zip(lots[wire], told, strict=True):
                if isinstance(value, hiredis.ReplyError):
                    left.append(n)
                else:
                    values[n] = value
        return left

    async def _answered(self, asked: "Mapping[_Wire, _Answer]") -> None:
        """Wait for all answers. Raises `Unavailable`: who did not answer in time is not asked again here."""
        late: set[_Answer] = set(asked.values())
        for timeout_s in (self._answer_within_s, GRACE_S):
            if late:
                _, late = await asyncio.wait(late, timeout=timeout_s)
        if late:
            slow = [wire for wire, answer in asked.items() if answer in late]
            for wire in slow:
                wire.close()
            raise Unavailable(f"Redis at {slow[0].address} did not answer in time")

    def _look(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look_around())

    async def _look_around(self) -> None:
        """Learn who has which slots, and connect to who is new; then rest, so that nobody looks more often."""
        try:
            await self._learn()
        except PlauditError as error:
            log.debug("who has which keys is not known: %s", error)
        except Exception:
            log.exception(
                "who has which keys could not be learnt in a way nobody foresaw; the driver answers"
            )
        await asyncio.sleep(LOOK_EVERY_S)

    async def _learn(self) -> None:
        spans = list(await self._masters())
        addresses = {(span.host, span.port) for span in spans}
        for gone in self._wires.keys() - addresses:
            self._wires.pop(gone).close()
        self._refused &= addresses
        await asyncio.gather(*map(self._connect, addresses))
        self._of_slot = [None] * SLOTS
        for span in spans:
            wire = self._wires.get((span.host, span.port))
            self._of_slot[span.first : span.last + 1] = [wire] * (span.last + 1 - span.first)

    async def _connect(self, address: tuple[str, int]) -> None:
        wire = self._wires.get(address)
        if wire is not None and not wire.lost:
            return
        host, port = address
        try:
            async with asyncio.timeout(self._entry.within_s):
                loop = asyncio.get_running_loop()
                _, wire = await loop.create_connection(_Wire, host, port, ssl=self._entry.tls)
                self._wires[address] = wire
                answers = await wire.ask(list(map(_packed, self._entry.commands)))
        except Exception as error:  # of network, TLS, a name that is none: the others do not wait for it
            why = f"{type(error).__name__}: {error}"
        else:
            if answers is not None and not any(isinstance(answer, hiredis.ReplyError) for answer in answers):
                self._refused.discard(address)
                return
            why = f"it lets nobody in: {answers}"
        # Only the first time: a node that is away is no news, one that never lets us in is.
        log.log(
            logging.DEBUG if address in self._refused else logging.WARNING,
            "Redis at %s:%s is asked through the driver alone, which costs more: %s",
            *(host, port, why),
        )
        self._refused.add(address)
        if (wire := self._wires.pop(address, None)) is not None:
            wire.close()


class _Wire(asyncio.Protocol):
    """A connection to one node. Answers come in the order in which was asked."""

    def __init__(self) -> None:
        self.lost = False
        self.address: Any = None
        self._reader = hiredis.Reader()
        self._asked: deque[tuple[_Answer, int]] = deque()
        self._answers: list[Any] = []  # to what was asked first
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.address = transport.get_extra_info("peername")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        for answer, _ in self._asked:
            if not answer.done():
                answer.set_result(None)
        self._asked.clear()

    def ask(self, commands: Sequence[bytes]) -> _Answer:
        """Send these packed commands together; what they are answered, errors among it, or None if that is lost."""
        answer: _Answer = asyncio.get_running_loop().create_future()
        self._transport.write(b"".join(commands))
        self._asked.append((answer, len(commands)))
        return answer

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (value := self._reader.gets()) is not False:
                self._answers.append(value)
                answer, wanted = self._asked[0]
                if len(self._answers) == wanted:
                    self._asked.popleft()
                    if not answer.done():  # else whoever asked has gone away
                        answer.set_result(self._answers)
                    self._answers = []
        except (hiredis.ProtocolError, IndexError):  # nothing that Redis says, or that it was asked for
            self.close()

    def close(self) -> None:
        """Nothing more is asked here; what is not answered yet fails."""
        self.lost = True
        self._transport.abort()


def slot_of(key: bytes) -> int:
    """Where a key belongs (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/)."""
    start = key.find(b"{") + 1
    if start and (end := key.find(b"}", start)) > start:
        key = key[start:end]
    return binascii.crc_hqx(key, 0) % SLOTS


def _packed(command: Sequence[str]) -> bytes:
    words = [word.encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


_GET = b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n"
