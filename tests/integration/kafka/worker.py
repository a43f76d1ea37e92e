"""A worker that a test may kill: appends `target seq` to a file for each event it handled. Arguments: brokers, topic,
group protocol, file."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from plaudit.adapters.kafka import KafkaConfig, KafkaConsumer, KafkaQuarantine
from plaudit.adapters.system import SystemClock
from plaudit.domain.events import Committed
from plaudit.services.consume import Consume
from plaudit.telemetry import Metrics

HANGS_AFTER = 300  # events: so that there is a batch in hand when it is killed, whenever that is


class Writes:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = 0

    async def handle(self, events: Sequence[Committed]) -> None:
        if self._written >= HANGS_AFTER:
            await asyncio.Event().wait()
        self._written += len(events)
        with self._path.open("a") as file:
            file.writelines(f"{event.target} {event.seq}\n" for event in events)


async def main(brokers: str, topic: str, protocol: str, path: str) -> None:
    config = KafkaConfig([brokers], topic, group_protocol="consumer" if protocol == "consumer" else "classic")
    async with (
        KafkaQuarantine(config) as quarantine,
        KafkaConsumer(config, config.group("test"), session_s=6) as consumer,
        Consume(
            consumer,
            Writes(Path(path)),
            SystemClock(),
            Metrics(),
            role="test",
            quarantine=quarantine,
            at_once=20,
        ) as consume,
    ):
        await consume.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
