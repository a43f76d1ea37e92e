"""What a worker answers."""

import httpx
from starlette.types import ASGIApp

from plaudit.http.worker import worker_app
from plaudit.telemetry import Metrics


async def get(app: ASGIApp, path: str) -> tuple[int, str]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://worker") as client:
        answer = await client.get(path)
        return answer.status_code, answer.text


async def test_a_worker_lives_and_says_whether_it_works(anyio_backend: str) -> None:
    reason: str | None = "counters: not in the group yet"
    app = worker_app(Metrics(), lambda: reason)
    assert await get(app, "/healthz") == (200, "ok\n")
    assert await get(app, "/readyz") == (503, "counters: not in the group yet\n")
    reason = None
    assert await get(app, "/readyz") == (200, "ready\n")
    assert (await get(app, "/api/v1/reactions"))[0] == 404


async def test_its_metrics_tell_roles_and_partitions_apart(anyio_backend: str) -> None:
    metrics = Metrics()
    metrics.labelled("plaudit_consumer_lag_events", lambda: {("counters", "0"): 3.0, ("counters", "1"): 0.0})
    metrics.labelled("plaudit_consumer_lag_events", lambda: {("index", "0"): 7.0})
    metrics.consumed("index", 5)
    _, text = await get(worker_app(metrics, lambda: None), "/metrics")
    assert 'plaudit_consumer_lag_events{partition="0",role="counters"} 3.0' in text
    assert 'plaudit_consumer_lag_events{partition="0",role="index"} 7.0' in text
    assert 'plaudit_events_consumed_total{role="index"} 5.0' in text
    assert text.count("# TYPE plaudit_consumer_lag_events gauge") == 1
