"""The engines of one test run: started when first asked for, shared by all, stopped at the end."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Protocol, Self, TypeVar

from tests.engines.cassandra import Cassandra
from tests.engines.jars import CACHE
from tests.engines.kafka import Kafka
from tests.engines.node import Node
from tests.engines.redis import Redis


class Engine(Protocol):
    """What all of them have."""

    nodes: list[Node]

    def begin(self) -> None: ...

    def start(self) -> None: ...


E = TypeVar("E", bound=Engine)
KEEP_LOGS_S = 24 * 60 * 60


class Engines:
    """At most one of each kind is used at a time: a ring of three takes the place of a single node, and the other way
    round. The next one may be on its way (`begin`). Data and logs are in a folder of this run, below .cache/engines.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._running: dict[type[Engine], tuple[int, Engine]] = {}
        self._beginning: dict[type[Engine], tuple[int, Engine]] = {}
        self.keep_logs = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> Path | None:
        """End everything, by process id. Logs stay if they are wanted; returns where they would be."""
        for engines in (self._running, self._beginning):
            for _nodes, engine in engines.values():
                _kill(engine)
            engines.clear()
        if self._folder is not None and not self.keep_logs:
            shutil.rmtree(self._folder, ignore_errors=True)
        return self._folder

    @property
    def folder(self) -> Path:
        """Where this run keeps its data and logs."""
        if self._folder is None:
            runs = CACHE / "runs"
            runs.mkdir(parents=True, exist_ok=True)
            # What runs left behind that failed or were killed: nobody reads their logs any more.
            for left in runs.iterdir():
                if time.time() - left.stat().st_mtime > KEEP_LOGS_S:
                    shutil.rmtree(left, ignore_errors=True)
            self._folder = Path(mkdtemp(dir=runs))
        return self._folder

    def begin(self, kind: type[Cassandra] | type[Kafka], nodes: int) -> None:
        """Let one start that will be asked for soon, beside the one that runs, and do not wait. To be called again and
        again: some nodes wait for others. Raises `jars.Missing`."""
        if self._running.get(kind, (0, None))[0] != nodes:
            self._begun(kind, nodes, lambda place: kind(place, nodes)).begin()

    def cassandra(self, nodes: int = 1) -> Cassandra:
        """Cassandra with one node or three, every node up. Raises `jars.Missing`."""
        return self._engine(Cassandra, nodes, lambda place: Cassandra(place, nodes))

    def kafka(self, nodes: int = 1) -> Kafka:
        """Kafka with one node or three, every node up. Raises `jars.Missing`."""
        return self._engine(Kafka, nodes, lambda place: Kafka(place, nodes))

    def redis(self) -> Redis:
        """Redis Cluster, every node up. Raises `jars.Missing`."""
        return self._engine(Redis, 6, Redis)

    def _engine(self, kind: type[E], nodes: int, make: Callable[[Path], E]) -> E:
        has, engine = self._running.get(kind, (0, None))
        if engine is not None and has != nodes:
            _kill(engine)
            engine = None
        if not isinstance(engine, kind):
            engine = self._begun(kind, nodes, make)
            del self._beginning[kind]
            self._running[kind] = (nodes, engine)
            engine.start()
        if not all(node.running for node in engine.nodes):
            engine.start()
        return engine

    def _begun(self, kind: type[E], nodes: int, make: Callable[[Path], E]) -> E:
        """The next engine of its kind, which may be on its way."""
        has, engine = self._beginning.get(kind, (0, None))
        if engine is not None and has != nodes:
            _kill(engine)
            engine = None
        if not isinstance(engine, kind):
            engine = make(Path(mkdtemp(prefix=f"{kind.__name__.lower()}-", dir=self.folder)))
            self._beginning[kind] = (nodes, engine)
        return engine


def _kill(engine: Engine) -> None:
    """All at once and without ceremony: nobody needs the data."""
    for node in engine.nodes:
        node.kill()
