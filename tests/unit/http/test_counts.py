"""The counts call, apart from what it reads from."""

from collections.abc import Sequence
from typing import Any

from plaudit.domain.catalogue import Catalogue
from plaudit.domain.cell import Header
from plaudit.http.hot import CountsCall
from plaudit.ports.ledger import Target
from plaudit.services.near import NearCache
from plaudit.telemetry import Metrics

UNUSED: Any = None  # no token, nothing that needs one


class Stored:
    """One target."""

    async def targets(self, ids: Sequence[str]) -> dict[str, Target]:
        return {id_: Target(Header(3, "post", (1,), 1)) for id_ in ids}


async def test_the_tag_of_an_answer_that_may_be_older_is_another() -> None:
    """Or who was told so would hear "nothing has changed" when it is over, and go on saying so."""
    degraded = [True]
    near = NearCache(Stored(), Catalogue(), entries=9, public=True, degraded=lambda: degraded[0])
    call = CountsCall(UNUSED, near, UNUSED, Metrics())

    async def get(etag: bytes) -> tuple[int, bytes]:
        told: list[Any] = []

        async def send(message: Any) -> None:
            told.append(message)

        headers = [(b"if-none-match", etag)]
        await call({"method": "GET", "query_string": b"target_ids=a", "headers": headers}, UNUSED, send)
        return told[0]["status"], dict(told[0]["headers"])[b"etag"]

    status, before = await get(b"")
    assert (status, await get(before)) == (200, (304, before))
    degraded[0] = False
    status, after = await get(before)
    assert (status, await get(after)) == (200, (304, after))
    assert before != after
