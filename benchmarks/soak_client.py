"""The clients of a long run: they never give up on a tap, and know exactly what must be stored.

Plain HTTP/1.1 over many connections with one request at a time each. A connection owns users that no other has, so its
journal says what each of their taps must find and leave behind, whatever happens to the server meanwhile. A tap whose
answer got lost, or that was refused for now, is repeated with its key until it is answered.
"""

import asyncio
import math
import random
import time
from bisect import bisect
from collections import deque
from itertools import accumulate
from typing import cast

import msgspec

REACTIONS: tuple[str | None, ...] = (None, "like", "love", "haha", "wow", "sad", "angry")
CODES = {name: code for code, name in enumerate(REACTIONS)}
TARGETS = 20_000
USERS_EACH = 400
AGAIN_SHARE = 0.3  # taps on something this user reacted to a moment ago: switches, removals, nothing to do
REMOVE_SHARE = 0.25
RECENT = 64
RETRY_S = 0.02
CONNECT_WITHIN_S = 20.0
SETTLE_WITHIN_S = 60.0
FINEST_S = 1e-5
STEP = math.log(1.02)  # 2 % between two bins
PROBLEMS_KEPT = 20


class Histogram:
    """Latencies in bins that are 2 % wide, so that hours of them take no memory."""

    def __init__(self) -> None:
        self._bins = [0] * 1024
        self.count = 0

    def add(self, latency_s: float) -> None:
        """Count one."""
        self._bins[min(1023, int(math.log(max(latency_s, FINEST_S) / FINEST_S) / STEP))] += 1
        self.count += 1

    def merge(self, other: "Histogram") -> None:
        """Count all of another."""
        self._bins = [a + b for a, b in zip(self._bins, other._bins, strict=True)]
        self.count += other.count

    def quantile_ms(self, share: float) -> float:
        """The latency that so many do not exceed; 0 if there are none."""
        if not self.count:
            return 0.0
        place = bisect(list(accumulate(self._bins)), min(self.count * share, self.count - 1))
        return FINEST_S * math.exp((place + 0.5) * STEP) * 1e3


class Answer(msgspec.Struct):
    """What the answer to a tap says about the user."""

    reaction: str | None
    previous: str | None
    outcome: str


_decode = msgspec.json.Decoder(Answer).decode


def expected_outcome(before: int, wanted: int) -> str:
    """What setting `wanted` does where `before` is."""
    if before == wanted:
        return "unchanged"
    if not before:
        return "created"
    return "switched" if wanted else "removed"


class Zipf:
    """Targets at random, the n-th most popular with a weight of 1/n."""

    def __init__(self, targets: int) -> None:
        self._sums = list(accumulate(1 / n for n in range(1, targets + 1)))

    def draw(self, chance: random.Random) -> int:
        """The number of a target."""
        return bisect(self._sums, chance.random() * self._sums[-1])


class Tally:
    """What happened to the taps of all connections."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.interrupted = 0  # answers that got lost
        self.found_stored = 0  # of those, the taps that turned out to be stored when they were repeated
        self.refused = 0  # 503 and 504: repeated too
        self.rows = 0
        self.errors = 0
        self.problems: list[str] = []
        self.calm = Histogram()
        self.disturbed = Histogram()  # due between a kill and the moment when nothing was waiting any more

    def problem(self, text: str) -> None:
        """Something that must never happen."""
        self.errors += 1
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(text)


class Connection(asyncio.Protocol):
    """One connection and the users it owns."""

    def __init__(self, load: "Load", number: int) -> None:
        self._load = load
        self._number = number
        self._chance = random.Random(number)
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""
        self._request = b""
        self._pair = self._wanted = 0
        self._due_s = 0.0
        self._keys = 0
        self._unknown = False  # whether the server may have stored the tap before
        self._recent: deque[int] = deque(maxlen=RECENT)
        self.busy = False
        self.queued = False
        self.journal: dict[int, int] = {}  # user * TARGETS + target -> reaction

    def names(self, pair: int) -> tuple[str, str]:
        """The ids of user and target."""
        user, target = divmod(pair, TARGETS)
        return f"u{self._number * USERS_EACH + user:09d}", f"p{target:09d}"

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._transport is not None

    def hang_up(self) -> None:
        """Close the connection, if there is one."""
        if self._transport is not None:
            self._transport.abort()

    def tap(self, due_s: float) -> None:
        """Begin a tap that was due at `due_s` (perf_counter)."""
        chance = self._chance
        if self._recent and chance.random() < AGAIN_SHARE:
            pair = chance.choice(self._recent)
            wanted = 0 if chance.random() < REMOVE_SHARE else chance.randrange(1, len(REACTIONS))
        else:
            pair = chance.randrange(USERS_EACH) * TARGETS + self._load.zipf.draw(chance)
            wanted = chance.randrange(1, len(REACTIONS))
            self._recent.append(pair)
        user, target = self.names(pair)
        name = REACTIONS[wanted]
        reaction = "null" if name is None else f'"{name}"'
        body = f'{{"target_id":"{target}","reaction_type":{reaction}}}'
        self._keys += 1
        self._request = (
            f"PUT /api/v1/reactions HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nAuthorization: Bearer {self._load.token}\r\nPlaudit-User: {user}\r\n"
            f"Idempotency-Key: {self._number}-{self._keys}\r\n\r\n{body}"
        ).encode()
        self._pair, self._wanted, self._due_s = pair, wanted, due_s
        self._unknown, self.busy = False, True
        self._send()

    def _send(self) -> None:
        if self._transport is not None:
            self._transport.write(self._request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are no subclass of asyncio's
        self._transport, self._received = cast(asyncio.WriteTransport, transport), b""
        if self.busy:
            self._send()
        else:
            self._load.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self.busy:
            self._unknown = True
            self._load.tally.interrupted += 1
        self._load.reconnect(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._received = b""
        status = head[9:12]
        if status in (b"503", b"504"):
            self._unknown |= status == b"504"
            self._load.tally.refused += 1
            asyncio.get_running_loop().call_later(RETRY_S, self._send)
            return
        if status == b"200":
            self._judge(_decode(body), b"idempotency-replayed: true" in head.lower())
        else:
            self._load.tally.problem(f"{self._request!r} answered {head!r} {body!r}")
        self.busy = False
        self._load.free(self)

    def _judge(self, answer: Answer, replayed: bool) -> None:
        """Compare an answer with the journal: applied once, and found what the last one left."""
        tally, before, wanted = self._load.tally, self.journal.get(self._pair), self._wanted
        expected = Answer(REACTIONS[wanted], REACTIONS[before or 0], expected_outcome(before or 0, wanted))
        if answer != expected:
            tally.problem(f"{self.names(self._pair)}: {answer}, and it must be {expected}")
        if replayed and not self._unknown:
            tally.problem(f"{self.names(self._pair)}: called a replay the first time")
        tally.acknowledged += 1
        tally.found_stored += replayed
        tally.rows += before is None
        self.journal[self._pair] = wanted
        calm = self._due_s >= self._load.calm_from_s
        (tally.calm if calm else tally.disturbed).add(time.perf_counter() - self._due_s)


class Load:
    """All connections, and when they tap: as fast as they can, or at a rate, or not at all."""

    def __init__(self, port: int, token: str, connections: int) -> None:
        self.token = token
        self.zipf = Zipf(TARGETS)
        self.tally = Tally()
        self.calm_from_s = self._killed_s = 0.0
        self.caught_up: list[float | None] = []  # seconds from each kill until nothing waited any more
        self.connections = [Connection(self, number) for number in range(connections)]
        self._port = port
        self._idle: deque[Connection] = deque()
        self._waiting: deque[float] = deque()
        self._closed_loop = False
        self._ended = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """Open every connection."""
        for connection in self.connections:
            self.reconnect(connection)
        async with asyncio.timeout(CONNECT_WITHIN_S):
            while not self._all_connected():  # noqa: ASYNC110 - only at start
                await asyncio.sleep(RETRY_S)

    def reconnect(self, connection: Connection) -> None:
        """Connect in the background, however long it takes."""
        if not self._ended:
            task = asyncio.get_running_loop().create_task(self._connect(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        while not self._ended:
            try:
                await loop.create_connection(lambda: connection, "127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(RETRY_S)
            else:
                return

    def free(self, connection: Connection) -> None:
        """A connection has nothing to do: give it what is waiting."""
        if self._closed_loop:
            connection.tap(time.perf_counter())
        elif self._waiting:
            connection.tap(self._waiting.popleft())
        elif not connection.queued:
            connection.queued = True
            self._idle.append(connection)
        if not self._waiting and self.calm_from_s == math.inf and self._all_connected():
            self.calm_from_s = time.perf_counter()
            self.caught_up[-1] = self.calm_from_s - self._killed_s

    def _all_connected(self) -> bool:
        return all(connection.connected for connection in self.connections)

    def _due(self, due_s: float) -> None:
        while self._idle:
            connection = self._idle.popleft()
            connection.queued = False
            if connection.connected and not connection.busy:
                connection.tap(due_s)
                return
        self._waiting.append(due_s)

    async def peak(self, seconds: float) -> float:
        """Taps answered in a second if every connection asks again at once."""
        self._closed_loop = True
        while self._idle:
            connection = self._idle.popleft()
            connection.queued = False
            connection.tap(time.perf_counter())
        await asyncio.sleep(seconds / 4)
        started, before = time.perf_counter(), self.tally.acknowledged
        await asyncio.sleep(seconds * 3 / 4)
        rate = (self.tally.acknowledged - before) / (time.perf_counter() - started)
        self._closed_loop = False
        await self.settle()
        return rate

    async def pace(self, rate: float, seconds: float) -> None:
        """Tap so often for so long, whether or not earlier taps were answered."""
        started, sent = time.perf_counter(), 0
        while (now := time.perf_counter()) < started + seconds:
            while sent < (now - started) * rate:
                self._due(started + sent / rate)
                sent += 1
            await asyncio.sleep(0.001)

    async def settle(self) -> None:
        """Wait until every tap is answered. Raises `TimeoutError` if one never is."""
        async with asyncio.timeout(SETTLE_WITHIN_S):
            while self._waiting or any(connection.busy for connection in self.connections):  # noqa: ASYNC110 - rare
                await asyncio.sleep(RETRY_S)

    def disturb(self) -> None:
        """From now on until all are connected and nothing waits, latencies count apart: the server was killed."""
        self.calm_from_s = math.inf
        self._killed_s = time.perf_counter()
        self.caught_up.append(None)

    def close(self) -> None:
        """Hang up."""
        self._ended = True
        for connection in self.connections:
            connection.hang_up()
