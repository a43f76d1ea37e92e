"""Targets as the host app describes, closes and deletes them."""

import asyncio
from typing import Any

import pytest

from plaudit.services import remove
from tests.support.api import ME, REACTIONS, Api, assert_problem, counts_of, fresh, nothing_stored

DESCRIBED: dict[str, Any] = {
    "owner_id": None,
    "target_type": "post",
    "title": None,
    "closed": False,
    "allowed": None,
    "version": 1,
}


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ({}, {}),
        ({"owner_id": "olga"}, {"owner_id": "olga"}),
        ({"owner_id": 42}, {"owner_id": "42"}),
        ({"owner_id": None, "title": None, "allowed": None}, {}),
        ({"title": "Grüße, 世界 🎉"}, {"title": "Grüße, 世界 🎉"}),
        ({"title": "x" * 300}, {"title": "x" * 300}),
        ({"target_type": "message"}, {"target_type": "message"}),
        ({"closed": True, "allowed": ["wow", "like"]}, {"closed": True, "allowed": ["like", "wow"]}),
        ({"allowed": []}, {"allowed": []}),
    ],
)
async def test_a_registration_is_answered_as_stored(
    api: Api, target: str, sent: dict[str, Any], stored: dict[str, Any]
) -> None:
    described = {"target_id": target, **DESCRIBED, **stored}
    assert await api.register(target, **sent) == described
    assert await api.register(target) == described, "what is left out stays"
    assert await registration(api, target) == described


async def registration(api: Api, target: str) -> dict[str, Any]:
    return dict((await api.call("GET", f"/api/v1/targets/{target}", headers=api.host)).json())


async def test_closing_a_private_target_leaves_it_private(api: Api, target: str) -> None:
    await api.register(target, target_type="message", owner_id="olga", title="Secret")
    closed = await api.register(target, closed=True)
    assert (closed["target_type"], closed["owner_id"], closed["title"]) == ("message", "olga", "Secret")
    refused = await api.call("GET", f"{REACTIONS}/counts?target_ids={target}", status=401)
    assert_problem(refused, "token_missing", "target_ids")
    user = api.bearer("ann")
    refused = await api.call("GET", f"{REACTIONS}/counts?target_ids={target}", headers=user, status=403)
    assert_problem(refused, "target_not_granted", "target_ids")
    cleared = await api.register(target, owner_id=None, title=None)
    assert (cleared["owner_id"], cleared["title"], cleared["closed"]) == (None, None, True)
    assert cleared == await registration(api, target)


async def test_closing_a_target_that_nobody_registered_keeps_the_type_of_its_reactions(
    api: Api, target: str, user: str
) -> None:
    body = {"target_id": target, "reaction_type": "like", "target_type": "comment"}
    await api.call("PUT", REACTIONS, headers=api.bearer(user), json=body)
    assert (await api.register(target, closed=True))["target_type"] == "comment"


async def test_only_a_registered_target_has_a_registration(api: Api, target: str, user: str) -> None:
    path = f"/api/v1/targets/{target}"
    refused = await api.call("GET", path, headers=api.host, status=404)
    assert_problem(refused, "target_not_registered", "target_id")
    await api.tap(user, target)
    refused = await api.call("GET", path, headers=api.host, status=404)
    assert_problem(refused, "target_not_registered", "target_id")
    await api.register(target)
    assert (await registration(api, target))["version"] == (await api.counts(target))["version"] == 2
    await api.call("GET", path, headers=api.bearer(user), status=403)
    await api.remove(path)
    await api.call("GET", path, headers=api.host, status=404)


async def test_registering_the_same_again_changes_nothing(api: Api, target: str) -> None:
    await api.register(target, owner_id="olga", title="Hello")
    with nothing_stored(api):
        await api.register(target, title="Hello", owner_id="olga")


async def test_an_integer_in_a_path_is_the_same_target(api: Api) -> None:
    await api.register("815", title="Hello")
    body = {"target_id": 815, "reaction_type": "like"}
    await api.call("POST", REACTIONS, headers=api.bearer("ann"), json=body)
    assert (await api.counts("815"))["total"] == 1


async def test_a_closed_target_takes_reactions_back_but_no_new_ones(api: Api, target: str) -> None:
    users = [fresh("u") for _ in range(4)]
    for user in users:
        await api.tap(user, target)
    key = api.bearer(users[0]) | {"Idempotency-Key": "before"}
    body = {"target_id": target, "reaction_type": "love"}
    first = await api.call("PUT", REACTIONS, headers=key, json=body)
    await api.register(target, closed=True)
    with nothing_stored(api):
        for method, reaction in [("POST", "like"), ("POST", "wow"), ("PUT", "like"), ("PUT", "wow")]:
            asked = {"target_id": target, "reaction_type": reaction}
            for user in (users[1], fresh("newcomer-")):
                refused = await api.call(method, REACTIONS, headers=api.bearer(user), json=asked, status=409)
                assert_problem(refused, "target_closed", "target_id")
    again = await api.call("PUT", REACTIONS, headers=key, json=body)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["outcome"] == first.json()["outcome"] == "switched"
    assert (await api.tap(users[1], target, None, method="PUT"))["outcome"] == "removed"
    deleted = await api.call("DELETE", f"{REACTIONS}?target_id={target}", headers=api.bearer(users[2]))
    assert deleted.json()["outcome"] == "removed"
    await api.register(target, closed=False)
    assert (await api.tap(users[3], target, "wow"))["counts"]["total"] == 2


async def test_allowed_reactions_are_the_ones_shown_and_the_only_ones_given(api: Api, target: str) -> None:
    old = fresh("u")
    await api.tap(old, target, "angry")
    await api.register(target, allowed=["like", "haha"])
    assert (await api.counts(target))["reactions"] == {"like": 0, "haha": 0, "angry": 1}
    with nothing_stored(api):
        for method in ("POST", "PUT"):
            body = {"target_id": target, "reaction_type": "angry"}
            headers = api.bearer(fresh("u"))
            refused = await api.call(method, REACTIONS, headers=headers, json=body, status=422)
            assert_problem(refused, "reaction_not_allowed", "reaction_type")
    assert (await api.tap(fresh("u"), target, "haha"))["outcome"] == "created"
    assert (await api.tap(old, target, "angry", method="PUT"))["outcome"] == "unchanged"
    assert (await api.tap(old, target, "angry"))["outcome"] == "removed"
    assert (await api.counts(target))["reactions"] == {"like": 0, "haha": 1}


async def test_registration_wins_over_the_first_tap(api: Api, target: str, user: str) -> None:
    body = {"target_id": target, "reaction_type": "like", "target_type": "comment"}
    await api.call("PUT", REACTIONS, headers=api.bearer(user), json=body)
    await api.register(target, target_type="post")
    refused = await api.call("PUT", REACTIONS, headers=api.bearer(user), json=body, status=422)
    assert_problem(refused, "target_type_mismatch", "target_type")


async def test_registration_and_deletion_show_at_once(api: Api, target: str, user: str) -> None:
    assert await api.counts(target) == counts_of(0)
    await api.register(target)
    assert await api.counts(target) == counts_of(1)
    await api.tap(user, target)
    await api.register(target, allowed=["love"])
    assert (await api.counts(target))["reactions"] == {"like": 1, "love": 0}
    job = (await api.call("DELETE", f"/api/v1/targets/{target}", headers=api.host, status=202)).json()
    deleted = await api.counts(target)
    assert (deleted["total"], deleted["version"]) == (0, 4)
    feed = await api.get(f"{REACTIONS}/{target}", user=user)
    assert (feed["reaction"], feed["summary"]["text"]) == (None, "")
    assert (await api.get(f"{REACTIONS}/{target}/reactors"))["reactors"] == []
    assert target not in str(await api.get(ME, user=user))
    await api.receipt(job["job_id"])


async def test_a_deletion_is_a_job_with_a_receipt(api: Api, target: str) -> None:
    for _ in range(3):
        await api.tap(fresh("u"), target)
    response = await api.call("DELETE", f"/api/v1/targets/{target}", headers=api.host, status=202)
    begun = response.json()
    assert response.headers["location"] == f"../jobs/{begun['job_id']}"
    assert begun == {
        "job_id": begun["job_id"],
        "kind": "delete_target",
        "subject": target,
        "state": "running",
        "created_at": begun["created_at"],
        "finished_at": None,
        "removed": {},
        "note": "",
    }
    done = await api.receipt(begun["job_id"])
    assert (done["removed"], done["created_at"]) == ({"rows": 3}, begun["created_at"])
    assert done["finished_at"] >= done["created_at"]
    assert "sequence number" in done["note"]


@pytest.mark.parametrize("known", [True, False])
async def test_a_deleted_target_takes_no_taps_until_it_is_registered_again(
    api: Api, target: str, user: str, known: bool
) -> None:
    if known:
        await api.tap(user, target)
    await api.remove(f"/api/v1/targets/{target}")
    headers = api.bearer(user)
    with nothing_stored(api):
        for method, reaction in [("POST", "like"), ("PUT", "like"), ("PUT", None)]:
            body = {"target_id": target, "reaction_type": reaction}
            refused = await api.call(method, REACTIONS, headers=headers, json=body, status=410)
            assert_problem(refused, "target_deleted", "target_id")
        refused = await api.call("DELETE", f"{REACTIONS}?target_id={target}", headers=headers, status=410)
        assert_problem(refused, "target_deleted", "target_id")
    version = (await api.counts(target))["version"]
    await api.register(target)
    again = await api.tap(user, target, "wow")
    assert again["outcome"] == "created"
    assert again["counts"]["version"] > version + 1
    assert again["counts"]["reactions"]["wow"] == again["counts"]["total"] == 1


async def test_a_target_is_not_registered_while_it_is_being_deleted(
    api: Api, target: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remove, "ROWS_PER_STEP", 1)
    body = {"target_id": target, "reaction_type": "like"}
    users = [api.host | {"Plaudit-User": fresh("u")} for _ in range(60)]
    await asyncio.gather(*(api.call("PUT", REACTIONS, headers=user, json=body) for user in users))
    path = f"/api/v1/targets/{target}"
    job = (await api.call("DELETE", path, headers=api.host, status=202)).json()
    refused = await api.call("PUT", path, headers=api.host, json={}, status=409)
    assert_problem(refused, "deletion_in_progress")
    assert refused.headers["retry-after"] == "1"
    same = (await api.call("DELETE", path, headers=api.host, status=202)).json()
    assert same["job_id"] == job["job_id"]
    assert (await api.receipt(job["job_id"]))["removed"] == {"rows": 60}
    await api.register(target)


async def test_deleting_again_is_another_job_that_finds_nothing(api: Api, target: str, user: str) -> None:
    await api.tap(user, target)
    first = await api.remove(f"/api/v1/targets/{target}")
    second = await api.remove(f"/api/v1/targets/{target}")
    assert second["job_id"] != first["job_id"]
    assert (first["removed"], second["removed"]) == ({"rows": 1}, {})
