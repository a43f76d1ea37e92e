"""A device of which something cannot be read is a device still."""

from collections.abc import Iterable
from typing import Any

from plaudit.adapters.cassandra.audience import DEVICE, CassandraAudience

NOTHING: Any = None  # what these calls do not touch


class Audience(CassandraAudience):
    """Two devices of one owner."""

    def __init__(self) -> None:
        async def erased(_: object) -> list[str]:
            return []

        super().__init__(NOTHING, erased)
        self.dropped: list[tuple[Any, ...]] = []

    def _bound(self, query: str, *values: Any) -> Any:
        return values

    async def _of_all(self, query: str, names: Iterable[str]) -> list[tuple[Any, ...]]:
        if query == DEVICE:
            return [
                (id_, "olga", "fcm", "token", "not JSON"[:n], 1, 0, 1, 7) for n, id_ in enumerate(("a", "b"))
            ]
        return [("olga", "a"), ("olga", "b")]

    async def _write(self, query: str, *values: Any) -> None: ...

    async def _commit(self, statements: Iterable[Any]) -> None:
        self.dropped += statements


async def test_it_is_there_and_goes_when_its_owner_is_erased() -> None:
    audience = Audience()
    assert {device.id: device.more for device in (await audience.devices(["olga"]))["olga"]} == {
        "a": {},
        "b": {},
    }
    await audience.forget("olga")
    assert {values[-1] for values in audience.dropped} == {"a", "b"}
