"""Installations with reactions and types of their own, and what becomes of a retired reaction."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.api import REACTIONS, Api, assert_problem, fresh, nothing_stored, open_api

LIKE: dict[str, Any] = {"code": 1, "name": "like", "emoji": "👍", "label": "Like"}
MEH: dict[str, Any] = {"code": 15, "name": "meh", "emoji": "😐", "label": "Meh"}
TYPES: list[dict[str, Any]] = [
    {"name": "post"},
    {"name": "note", "reactions": ["like"]},
    {"name": "secret", "access": "granted"},
]


CATALOGUE = "/api/v1/catalogue"


async def refuse(api: Api, target: str, reaction: str, code: str, user: str | None = None) -> None:
    with nothing_stored(api):
        for method in ("POST", "PUT"):
            body = {"target_id": target, "reaction_type": reaction}
            headers = api.bearer(user or fresh("u"))
            refused = await api.call(method, REACTIONS, headers=headers, json=body, status=422)
            assert_problem(refused, code, "reaction_type")


async def test_a_client_reads_which_reactions_there_are(tmp_path: Path) -> None:
    retired = {**MEH, "code": 2, "name": "boo", "retired": True}
    async with open_api(tmp_path, reactions=[MEH, retired, LIKE], types=TYPES) as api:
        first = await api.call("GET", CATALOGUE)
        assert first.json() == {
            "reactions": [
                {"name": "like", "emoji": "👍", "label": "Like", "retired": False},
                {"name": "boo", "emoji": "😐", "label": "Meh", "retired": True},
                {"name": "meh", "emoji": "😐", "label": "Meh", "retired": False},
            ],
            "types": {
                "post": {"access": "open", "reactions": ["like", "meh"]},
                "note": {"access": "open", "reactions": ["like"]},
                "secret": {"access": "granted", "reactions": ["like", "meh"]},
            },
        }
        assert first.headers["cache-control"] == "public, max-age=300"
        known = {"If-None-Match": f'W/{first.headers["etag"]}, "other"'}
        again = await api.call("GET", CATALOGUE, headers=known, status=304)
        assert (again.content, again.headers["etag"]) == (b"", first.headers["etag"])
        assert (await api.call("HEAD", CATALOGUE)).headers["etag"] == first.headers["etag"]
        refused = await api.call("GET", f"{CATALOGUE}?type=post", status=422)
        assert_problem(refused, "unknown_parameter", "type")
        await api.call("POST", CATALOGUE, status=405)
    async with open_api(tmp_path) as api:
        assert (await api.call("GET", CATALOGUE, headers=known)).headers["etag"] != first.headers["etag"]


async def test_a_catalogue_of_ones_own(tmp_path: Path, target: str) -> None:
    async with open_api(tmp_path, reactions=[MEH, LIKE]) as api:
        assert list((await api.counts(target))["reactions"].items()) == [("like", 0), ("meh", 0)]
        assert (await api.tap("ann", target, "meh"))["counts"]["reactions"] == {"like": 0, "meh": 1}
        await refuse(api, target, "love", "unknown_reaction")
        refused = await api.call("GET", f"{REACTIONS}/{target}/reactors?type=love", status=422)
        assert_problem(refused, "unknown_reaction", "type")


async def test_a_type_has_its_own_reactions_and_access(tmp_path: Path) -> None:
    async with open_api(tmp_path, reactions=[LIKE, MEH], types=TYPES) as api:
        await api.register("n", target_type="note")
        await api.register("s", target_type="secret")
        assert (await api.counts("n"))["reactions"] == {"like": 0}
        await refuse(api, "n", "meh", "reaction_not_allowed")
        await api.register("n", target_type="note", allowed=["meh"])
        assert (await api.tap("ann", "n", "meh"))["outcome"] == "created"
        assert_problem(await api.call("GET", f"{REACTIONS}/s", status=401), "token_missing", "target_id")
        body = {"target_id": "x", "reaction_type": "like", "target_type": "comment"}
        refused = await api.call("POST", REACTIONS, headers=api.bearer("ann"), json=body, status=422)
        assert_problem(refused, "unknown_target_type", "target_type")


@pytest.mark.parametrize("way", ["toggle", "set to none", "delete", "switch"])
async def test_a_retired_reaction_can_be_removed_but_not_given(tmp_path: Path, way: str) -> None:
    async with open_api(tmp_path, reactions=[LIKE, MEH]) as api:
        await api.tap("ann", "t", "meh")
        await api.tap("bob", "t", "like")
    async with open_api(tmp_path, reactions=[LIKE, {**MEH, "retired": True}]) as api:
        assert (await api.counts("t"))["reactions"] == {"like": 1, "meh": 1}
        assert (await api.counts("u"))["reactions"] == {"like": 0}
        assert (await api.get(f"{REACTIONS}/t", user="ann"))["reaction"] == "meh"
        await refuse(api, "t", "meh", "reaction_not_allowed")
        await refuse(api, "t", "meh", "reaction_not_allowed", "bob")
        assert (await api.tap("ann", "t", "meh", method="PUT"))["outcome"] == "unchanged"
        page = await api.get(f"{REACTIONS}/t/reactors?type=meh")
        assert ([line["user"]["id"] for line in page["reactors"]], page["total"]) == (["ann"], 1)
        if way == "toggle":
            answer = await api.tap("ann", "t", "meh")
        elif way == "set to none":
            answer = await api.tap("ann", "t", None, method="PUT")
        elif way == "switch":
            answer = await api.tap("ann", "t", "like")
        else:
            url = f"{REACTIONS}?target_id=t"
            answer = (await api.call("DELETE", url, headers=api.bearer("ann"))).json()
        assert (answer["previous"], answer["outcome"]) == (
            "meh",
            "switched" if way == "switch" else "removed",
        )
        assert answer["counts"]["reactions"] == {"like": 2 if way == "switch" else 1}


async def test_a_key_from_before_its_reaction_was_retired_still_answers(tmp_path: Path) -> None:
    body = {"target_id": "t", "reaction_type": "meh"}
    async with open_api(tmp_path, reactions=[LIKE, MEH]) as api:
        headers = api.bearer("ann") | {"Idempotency-Key": "k"}
        first = (await api.call("POST", REACTIONS, headers=headers, json=body)).json()
    async with open_api(tmp_path, reactions=[LIKE, {**MEH, "retired": True}]) as api:
        again = await api.call("POST", REACTIONS, headers=headers, json=body)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json() == first
