"""Users as the host app describes and erases them."""

from typing import Any
from urllib.parse import quote, urljoin

import pytest

from tests.support.api import ME, REACTIONS, Api, assert_problem, counts_of, fresh, nothing_stored

DESCRIBED: dict[str, Any] = {"name": None, "avatar_url": None, "locale": None, "time_zone": None}


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"name": "Ann O'Neil-Łuczak 李 🦊"},
        {"name": "x" * 100},
        {"avatar_url": "https://example.org/a.png?size=64#x"},
        {"avatar_url": "/avatars/ann.png"},
        {"locale": "en"},
        {"locale": "pt-BR"},
        {"locale": "zh-Hant-TW"},
        {"time_zone": "Europe/Paris"},
        {"time_zone": "UTC"},
        {"name": "Ann", "avatar_url": "/a", "locale": "de", "time_zone": "Asia/Kathmandu"},
    ],
)
async def test_a_profile_is_answered_as_stored(api: Api, user: str, sent: dict[str, Any]) -> None:
    assert await api.describe(user, **sent) == {"user_id": user, **DESCRIBED, **sent}
    assert await api.describe(user) == {"user_id": user, **DESCRIBED}, "a PUT replaces everything"


async def test_a_new_name_shows_at_once_everywhere(api: Api, target: str, user: str) -> None:
    await api.tap(user, target)
    for name in ("Ann", "Anna", None):
        await api.describe(user, name=name)
        shown = name or user
        assert (await api.get(f"{REACTIONS}/{target}"))["summary"]["text"] == f"Liked by {shown}"
        [reactor] = (await api.get(f"{REACTIONS}/{target}/reactors"))["reactors"]
        assert reactor["user"]["name"] == shown


@pytest.mark.parametrize("user", ["a/b", "/", "auth0|5f/x/", "100%", "a?b#c", "x" * 128])
async def test_every_user_id_can_stand_in_a_path(api: Api, target: str, user: str) -> None:
    path = quote(user, safe="")
    assert (await api.describe(path, name="Ann"))["user_id"] == user
    await api.tap(user, target)
    assert (await api.get(f"{REACTIONS}/{target}"))["summary"]["text"] == "Liked by Ann"
    assert (await api.remove(f"/api/v1/users/{path}"))["removed"] == {"rows": 1}


async def test_an_erasure_takes_every_reaction_and_the_profile(api: Api, user: str) -> None:
    targets = [fresh("t") for _ in range(5)]
    other = fresh("u")
    await api.describe(user, name="Ann", avatar_url="/ann.png")
    for target in targets:
        await api.tap(other, target, "love")
        await api.tap(user, target, "love")
    await api.tap(user, targets[0], None, method="PUT")
    receipt = await api.remove(f"/api/v1/users/{user}")
    assert (receipt["kind"], receipt["subject"], receipt["removed"]) == ("erase_user", user, {"rows": 5})
    for target in targets[1:]:
        assert await api.counts(target) == counts_of(3, love=1)
        page = await api.get(f"{REACTIONS}/{target}/reactors")
        assert [reactor["user"]["id"] for reactor in page["reactors"]] == [other]
        assert (await api.get(f"{REACTIONS}/{target}"))["summary"]["text"] == other
    assert (await api.get(ME, user=user))["reactions"] == []
    assert not [line for line in api.stored()["reaction_row"] if user in line]
    assert [line[1:5] for line in api.stored()["user"] if line[0] == user] == [(None,) * 4]


async def test_an_erased_user_does_not_come_back(api: Api, target: str, user: str) -> None:
    await api.tap(user, target)
    key = api.bearer(user) | {"Idempotency-Key": "before"}
    body = {"target_id": target, "reaction_type": "love"}
    await api.call("PUT", REACTIONS, headers=key, json=body)
    await api.remove(f"/api/v1/users/{user}")
    with nothing_stored(api):
        for headers in (key, api.bearer(user), api.host | {"Plaudit-User": user}):
            for method in ("POST", "PUT"):
                refused = await api.call(method, REACTIONS, headers=headers, json=body, status=403)
                assert_problem(refused, "user_erased", "user_id")
            url = f"{REACTIONS}?target_id={target}"
            assert_problem(
                await api.call("DELETE", url, headers=headers, status=403), "user_erased", "user_id"
            )
        path = f"/api/v1/users/{user}"
        refused = await api.call("PUT", path, headers=api.host, json={"name": "Ann"}, status=403)
        assert_problem(refused, "user_erased", "user_id")


async def test_taps_beside_an_erased_user_are_answered(api: Api, target: str, user: str) -> None:
    await api.remove(f"/api/v1/users/{user}")
    assert (await api.tap(fresh("u"), target))["counts"] == counts_of(1, like=1)


@pytest.mark.parametrize("path", ["{}", "{}/b", "{}%2Fb", "{}/b/api/v1/c"])
async def test_the_job_of_an_erasure_is_found_under_whatever_path_this_is_mounted(
    api: Api, user: str, path: str
) -> None:
    address = f"/api/v1/users/{path.format(user)}"
    begun = await api.call("DELETE", address, headers=api.host, status=202)
    found = urljoin(f"https://app.example/plaudit{address}", begun.headers["location"])
    assert found == f"https://app.example/plaudit/api/v1/jobs/{begun.json()['job_id']}"
    await api.receipt(begun.json()["job_id"])


async def test_somebody_nobody_knows_can_be_erased(api: Api, target: str, user: str) -> None:
    assert (await api.remove(f"/api/v1/users/{user}"))["removed"] == {}
    body = {"target_id": target, "reaction_type": "love"}
    refused = await api.call("POST", REACTIONS, headers=api.bearer(user), json=body, status=403)
    assert_problem(refused, "user_erased", "user_id")
