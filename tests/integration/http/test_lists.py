"""Lists: who reacted, and what a user reacted to; newest first, page by page, without gap or repeat."""

import re
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.api import ME, REACTIONS, Api, fresh

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z")


async def walk(api: Api, path: str, list_name: str, user: str | None = None, limit: int = 2) -> list[Any]:
    """All pages, and asserts that only the last one has no cursor."""
    found: list[Any] = []
    cursor = ""
    while True:
        separator = "&" if "?" in path else "?"
        page = await api.get(f"{path}{separator}limit={limit}{cursor}", user=user)
        found += page[list_name]
        if page["next_cursor"] is None:
            return found
        assert len(page[list_name]) == limit
        cursor = f"&cursor={quote(page['next_cursor'])}"


@pytest.fixture
async def crowd(api: Api, target: str, anyio_backend: str) -> list[str]:
    """Twelve reactors of `target`, newest first, with one reaction after the other."""
    users = [fresh("u") for _ in range(12)]
    for number, user in enumerate(users):
        await api.tap(user, target, ("like", "love", "wow")[number % 3])
    return users[::-1]


async def test_a_page_of_reactors_is_exactly_this(api: Api, target: str, user: str) -> None:
    await api.describe(user, name="Ann", avatar_url="https://example.org/ann.png")
    await api.tap(user, target, "love")
    page = await api.get(f"{REACTIONS}/{target}/reactors")
    [reactor] = page["reactors"]
    assert TIME.match(reactor["reacted_at"])
    assert page == {
        "reactors": [
            {
                "user": {"id": user, "name": "Ann", "avatar_url": "https://example.org/ann.png"},
                "reaction": "love",
                "reacted_at": reactor["reacted_at"],
            }
        ],
        "next_cursor": None,
        "total": 1,
    }


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 11, 12, 13, 100])
async def test_pages_of_reactors_are_the_whole_list(
    api: Api, target: str, crowd: list[str], limit: int
) -> None:
    found = await walk(api, f"{REACTIONS}/{target}/reactors", "reactors", limit=limit)
    assert [reactor["user"]["id"] for reactor in found] == crowd
    times = [reactor["reacted_at"] for reactor in found]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(("kind", "place"), [("like", 2), ("love", 1), ("wow", 0)])
@pytest.mark.parametrize("limit", [1, 3, 4, 5])
async def test_a_type_filters_list_and_total(
    api: Api, target: str, crowd: list[str], kind: str, place: int, limit: int
) -> None:
    path = f"{REACTIONS}/{target}/reactors?type={kind}"
    found = await walk(api, path, "reactors", limit=limit)
    assert [reactor["user"]["id"] for reactor in found] == crowd[place::3]
    assert {reactor["reaction"] for reactor in found} == {kind}
    assert (await api.get(path))["total"] == 4
    assert await api.get(f"{REACTIONS}/{target}/reactors?type=sad") == {
        "reactors": [],
        "next_cursor": None,
        "total": 0,
    }


async def test_a_page_has_twenty_unless_asked(api: Api, target: str) -> None:
    for _ in range(21):
        await api.tap(fresh("u"), target)
    page = await api.get(f"{REACTIONS}/{target}/reactors")
    assert (len(page["reactors"]), page["total"]) == (20, 21)
    last = await api.get(f"{REACTIONS}/{target}/reactors?cursor={quote(page['next_cursor'])}")
    assert (len(last["reactors"]), last["next_cursor"]) == (1, None)


async def test_what_does_not_change_meanwhile_is_seen_once(api: Api, target: str, crowd: list[str]) -> None:
    path = f"{REACTIONS}/{target}/reactors"
    first = await api.get(f"{path}?limit=4")
    await api.tap(fresh("newcomer-"), target)
    await api.tap(crowd[3], target, None, method="PUT")
    await api.tap(crowd[6], target, None, method="PUT")
    await api.tap(crowd[8], target, "angry", method="PUT")
    rest = await api.get(f"{path}?limit=50&cursor={quote(first['next_cursor'])}")
    assert [reactor["user"]["id"] for reactor in rest["reactors"]] == crowd[4:6] + crowd[7:]


async def test_a_reaction_given_again_has_its_old_place(api: Api, target: str, crowd: list[str]) -> None:
    await api.tap(crowd[5], target, None, method="PUT")
    await api.tap(crowd[5], target, "sad", method="PUT")
    found = await walk(api, f"{REACTIONS}/{target}/reactors", "reactors", limit=5)
    assert [reactor["user"]["id"] for reactor in found] == crowd
    assert found[5]["reaction"] == "sad"


async def test_a_page_of_own_reactions_is_exactly_this(api: Api, target: str, user: str) -> None:
    await api.tap(user, target, "love")
    page = await api.get(ME, user=user)
    at = page["reactions"][0]["reacted_at"]
    assert TIME.match(at)
    assert page == {
        "reactions": [{"target_id": target, "reaction": "love", "reacted_at": at}],
        "next_cursor": None,
    }
    assert await api.get(ME, user=fresh("u")) == {"reactions": [], "next_cursor": None}


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7])
async def test_pages_of_own_reactions_are_the_whole_list(api: Api, user: str, limit: int) -> None:
    targets = [fresh("t") for _ in range(7)]
    for target in targets:
        await api.tap(user, target)
        await api.tap("somebody-else", target)
    await api.tap(user, targets[3], None, method="PUT")
    found = await walk(api, ME, "reactions", user, limit)
    assert [line["target_id"] for line in found] == [*targets[:3:-1], *targets[2::-1]]


async def test_the_host_app_lists_for_whom_it_names(api: Api, target: str, user: str) -> None:
    await api.tap(user, target)
    page = (await api.call("GET", ME, headers=api.host | {"Plaudit-User": user})).json()
    assert [line["target_id"] for line in page["reactions"]] == [target]


async def test_lists_of_a_target_nobody_knows_are_empty(api: Api, target: str) -> None:
    assert await api.get(f"{REACTIONS}/{target}/reactors") == {
        "reactors": [],
        "next_cursor": None,
        "total": 0,
    }
