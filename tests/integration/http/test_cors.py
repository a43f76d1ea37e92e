"""Pages on other origins: told what they may do where the installation names them, and nothing where it does not."""

from pathlib import Path

import pytest

from tests.support.api import COUNTS, FEED, ME, REACTIONS, assert_problem, open_api

SITE = "https://site.example"
PATHS = [REACTIONS, f"{COUNTS}?target_ids=t", FEED, ME, "/api/v1/targets/t", "/healthz"]


def preflight(
    origin: str, method: str = "PUT", headers: str = "authorization, content-type"
) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


@pytest.mark.parametrize("origins", [[SITE], ["https://other.example", SITE], ["*"]])
async def test_a_preflight_says_what_a_page_may_send(tmp_path: Path, origins: list[str]) -> None:
    async with open_api(tmp_path, cors_origins=origins) as api:
        for path in PATHS:
            wanted = "authorization, content-type, idempotency-key, plaudit-route, plaudit-user"
            answer = await api.call("OPTIONS", path, headers=preflight(SITE, "PUT", wanted))
            assert answer.headers["access-control-allow-origin"] in (SITE, "*")
            assert answer.headers["access-control-max-age"] == "7200"
            methods = answer.headers["access-control-allow-methods"]
            assert {"GET", "HEAD", "POST", "PUT", "DELETE"} == set(methods.split(", "))
            assert "access-control-allow-credentials" not in answer.headers


async def test_answers_and_problems_can_be_read_by_the_page(tmp_path: Path) -> None:
    async with open_api(tmp_path, cors_origins=[SITE], rate_limit_per_s=0.1, rate_limit_burst=1) as api:
        body = {"target_id": "t", "reaction_type": "like"}
        headers = api.bearer("ann") | {"Origin": SITE}
        answers = [
            await api.call("PUT", REACTIONS, headers=headers, json=body),
            await api.call("PUT", REACTIONS, headers=headers, json=body, status=429),
            await api.call("PUT", REACTIONS, headers={"Origin": SITE}, json=body, status=401),
            await api.call("GET", f"{COUNTS}?target_ids=t", headers={"Origin": SITE}),
            await api.call("GET", f"{COUNTS}?target_ids=", headers={"Origin": SITE}, status=422),
            await api.call("GET", f"{REACTIONS}/t", headers={"Origin": SITE}),
            await api.call("GET", "/nowhere", headers={"Origin": SITE}, status=404),
        ]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == SITE
            assert "origin" in answer.headers["vary"].lower()
            exposed = set(answer.headers["access-control-expose-headers"].split(", "))
            assert exposed == {"ETag", "Idempotency-Replayed", "Retry-After"}


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://site.example", "https://site.example.evil", "null"]
)
async def test_other_origins_are_told_nothing(tmp_path: Path, origin: str) -> None:
    async with open_api(tmp_path, cors_origins=[SITE]) as api:
        for path in PATHS:
            refused = await api.call("OPTIONS", path, headers=preflight(origin), status=400)
            assert "access-control-allow-origin" not in refused.headers
        answer = await api.call("GET", f"{COUNTS}?target_ids=t", headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(("method", "header"), [("PATCH", "authorization"), ("PUT", "x-evil")])
async def test_a_preflight_for_what_is_not_taken_is_refused(tmp_path: Path, method: str, header: str) -> None:
    async with open_api(tmp_path, cors_origins=[SITE]) as api:
        await api.call("OPTIONS", REACTIONS, headers=preflight(SITE, method, header), status=400)


async def test_without_origins_there_is_no_cors(tmp_path: Path) -> None:
    async with open_api(tmp_path) as api:
        for path in PATHS:
            refused = await api.call("OPTIONS", path, headers=preflight(SITE), status=405)
            assert_problem(refused, "method_not_allowed")
            assert not [name for name in refused.headers if name.startswith("access-control-")]
        answer = await api.call("GET", f"{COUNTS}?target_ids=t", headers={"Origin": SITE})
        assert not [name for name in answer.headers if name.startswith("access-control-")]
