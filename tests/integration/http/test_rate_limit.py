"""The rate limit: per user, with a Retry-After that is true, and a refused tap is not stored."""

from pathlib import Path

import pytest

from tests.support.api import COUNTS, FEED, ME, REACTIONS, Api, assert_problem, open_api


async def tap(api: Api, user: str, target: str, status: int = 200) -> None:
    body = {"target_id": target, "reaction_type": "like"}
    response = await api.call("PUT", REACTIONS, headers=api.bearer(user), json=body, status=status)
    if status == 429:
        assert_problem(response, "rate_limited")
        assert 9 <= int(response.headers["retry-after"]) <= 10


@pytest.mark.parametrize("burst", [1, 3])
async def test_who_taps_too_often_waits(tmp_path: Path, burst: int) -> None:
    async with open_api(tmp_path, rate_limit_per_s=0.1, rate_limit_burst=burst) as api:
        for number in range(burst):
            await tap(api, "ann", f"t{number}")
        await tap(api, "ann", "one-more", status=429)
        url = f"{REACTIONS}?target_id=t0"
        refused = await api.call("DELETE", url, headers=api.bearer("ann"), status=429)
        assert_problem(refused, "rate_limited")
        await tap(api, "bob", "t0")
        assert (await api.counts("t0"))["total"] == 2
        assert (await api.counts("one-more"))["version"] == 0


async def test_another_token_is_no_fresh_allowance(tmp_path: Path) -> None:
    async with open_api(tmp_path, rate_limit_per_s=0.1, rate_limit_burst=1) as api:
        await tap(api, "ann", "t")
        body = {"target_id": "t", "reaction_type": "like"}
        headers = api.bearer("ann", grants=["x"], ttl_s=60)
        assert_problem(
            await api.call("PUT", REACTIONS, headers=headers, json=body, status=429), "rate_limited"
        )


async def test_reads_and_the_host_app_are_not_limited(tmp_path: Path) -> None:
    async with open_api(tmp_path, rate_limit_per_s=0.1, rate_limit_burst=1) as api:
        await tap(api, "ann", "t")
        await tap(api, "ann", "t", status=429)
        for _ in range(5):
            await api.get(f"{COUNTS}?target_ids=t")
            await api.get(f"{FEED}?target_ids=t", user="ann")
            await api.get(ME, user="ann")
            acting = api.host | {"Plaudit-User": "ann"}
            body = {"target_id": "t", "reaction_type": "like"}
            await api.call("PUT", REACTIONS, headers=acting, json=body)


async def test_the_limit_can_be_switched_off(tmp_path: Path) -> None:
    async with open_api(tmp_path, rate_limit_per_s=0, rate_limit_burst=1) as api:
        for _ in range(20):
            await tap(api, "ann", "t")
