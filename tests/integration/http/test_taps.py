"""Taps: POST toggles, PUT sets, DELETE removes; a repeated key answers as the first time."""

from typing import NamedTuple

import pytest

from tests.support.api import REACTIONS, Api, assert_problem, counts_of, fresh, nothing_stored


class Step(NamedTuple):
    """One tap of a user on a target, and what it must answer. `asked` "-" stands for DELETE."""

    method: str
    asked: str | None
    outcome: str
    previous: str | None
    reaction: str | None


STORIES = {
    "toggle creates, removes and creates again": [
        Step("POST", "like", "created", None, "like"),
        Step("POST", "like", "removed", "like", None),
        Step("POST", "like", "created", None, "like"),
    ],
    "toggle switches": [
        Step("POST", "like", "created", None, "like"),
        Step("POST", "angry", "switched", "like", "angry"),
        Step("POST", "angry", "removed", "angry", None),
    ],
    "set is a wish": [
        Step("PUT", "love", "created", None, "love"),
        Step("PUT", "love", "unchanged", "love", "love"),
        Step("PUT", "wow", "switched", "love", "wow"),
        Step("PUT", None, "removed", "wow", None),
        Step("PUT", None, "unchanged", None, None),
    ],
    "removing is a wish too": [
        Step("DELETE", "-", "unchanged", None, None),
        Step("POST", "sad", "created", None, "sad"),
        Step("DELETE", "-", "removed", "sad", None),
        Step("DELETE", "-", "unchanged", None, None),
    ],
}


async def send(
    api: Api, user: str, target: str, method: str, asked: str | None, key: str | None = None
) -> tuple[dict[str, object], bool]:
    """The answer and whether it is a replay."""
    headers = api.bearer(user) | ({"Idempotency-Key": key} if key else {})
    if method == "DELETE":
        response = await api.call(method, REACTIONS, headers=headers, params={"target_id": target})
    else:
        body = {"target_id": target, "reaction_type": asked}
        response = await api.call(method, REACTIONS, headers=headers, json=body)
    return response.json(), response.headers.get("idempotency-replayed") == "true"


async def test_an_answer_is_exactly_this(api: Api, target: str, user: str) -> None:
    body = {"target_id": target, "reaction_type": "love", "target_type": "comment"}
    response = await api.call("POST", REACTIONS, headers=api.bearer(user), json=body)
    assert response.json() == {
        "target_id": target,
        "reaction": "love",
        "previous": None,
        "outcome": "created",
        "counts": counts_of(1, love=1),
        "route": target,
    }
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert "idempotency-replayed" not in response.headers


@pytest.mark.parametrize("story", STORIES)
async def test_outcomes(api: Api, target: str, user: str, story: str) -> None:
    for step in STORIES[story]:
        answer, _ = await send(api, user, target, step.method, step.asked)
        assert (answer["outcome"], answer["previous"], answer["reaction"]) == step[2:]
        assert answer["counts"] == await api.counts(target)


@pytest.mark.parametrize(
    ("method", "asked"), [("POST", "like"), ("PUT", "like"), ("PUT", None), ("DELETE", "-")]
)
async def test_a_repeated_key_answers_as_the_first_time_with_the_counts_of_now(
    api: Api, target: str, user: str, method: str, asked: str | None
) -> None:
    await send(api, user, target, "PUT", "wow")
    first, replayed = await send(api, user, target, method, asked, "key-1")
    assert not replayed
    now, _ = await send(api, user, target, "PUT", "sad")
    await api.tap(fresh("other-"), target)
    again, replayed = await send(api, user, target, method, asked, "key-1")
    assert replayed
    assert (again["outcome"], again["previous"]) == (first["outcome"], first["previous"])
    assert again["reaction"] == now["reaction"] == "sad"
    assert again["counts"] == counts_of(4, sad=1, like=1)


async def test_delete_and_put_null_are_the_same_tap(api: Api, target: str, user: str) -> None:
    await send(api, user, target, "POST", "like")
    await send(api, user, target, "DELETE", "-", "key-1")
    again, replayed = await send(api, user, target, "PUT", None, "key-1")
    assert replayed
    assert again["outcome"] == "removed"


@pytest.mark.parametrize(
    ("method", "asked"), [("POST", "love"), ("PUT", "like"), ("PUT", None), ("PUT", "love")]
)
async def test_a_key_is_for_one_tap(api: Api, target: str, user: str, method: str, asked: str | None) -> None:
    await send(api, user, target, "POST", "like", "key-1")
    headers = api.bearer(user) | {"Idempotency-Key": "key-1"}
    with nothing_stored(api):
        body = {"target_id": target, "reaction_type": asked}
        refused = await api.call(method, REACTIONS, headers=headers, json=body, status=422)
    assert_problem(refused, "idempotency_key_reused", "Idempotency-Key")


async def test_a_key_belongs_to_one_user_and_target(api: Api, target: str, user: str) -> None:
    for who, what in [(user, target), (fresh("u"), target), (user, fresh("t"))]:
        answer, replayed = await send(api, who, what, "POST", "like", "the-same-key")
        assert not replayed
        assert answer["outcome"] == "created"


async def test_an_unchanged_tap_is_remembered_if_it_had_a_key(api: Api, target: str, user: str) -> None:
    await send(api, user, target, "PUT", "like")
    await send(api, user, target, "PUT", "like", "key-1")
    await send(api, user, target, "DELETE", "-")
    again, replayed = await send(api, user, target, "PUT", "like", "key-1")
    assert replayed
    assert (again["outcome"], again["previous"], again["reaction"]) == ("unchanged", "like", None)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (42, "42"),
        (0, "0"),
        (-7, "-7"),
        (1 << 64, str(1 << 64)),
        (10**127, "1" + "0" * 127),
        ("42", "42"),
        ("post:42", "post:42"),
        ("A.b:c@d~e|f=g-h_1", "A.b:c@d~e|f=g-h_1"),
        ("x" * 128, "x" * 128),
        ("Counts", "Counts"),
        ("...", "..."),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_ids_are_opaque_and_integers_become_text(
    api: Api, user: str, method: str, sent: str | int, stored: str
) -> None:
    body = {"target_id": sent, "reaction_type": "like"}
    answer = (await api.call(method, REACTIONS, headers=api.bearer(user), json=body)).json()
    assert answer["target_id"] == answer["route"] == stored
    assert (await api.get(f"{REACTIONS}/{stored}", user=user))["reaction"] == "like"


@pytest.mark.parametrize("user", ["u", "auth0|5f", "a/b", "100%", "~" * 128, "me@example.org", "[x]{y}"])
async def test_user_ids_are_opaque(api: Api, target: str, user: str) -> None:
    await api.tap(user, target)
    page = await api.get(f"{REACTIONS}/{target}/reactors")
    assert [reactor["user"]["id"] for reactor in page["reactors"]] == [user]


async def test_the_host_app_taps_for_whom_it_names(api: Api, target: str, user: str) -> None:
    acting = api.host | {"Plaudit-User": user}
    body = {"target_id": target, "reaction_type": "haha"}
    await api.call("PUT", REACTIONS, headers=acting, json=body)
    assert (await api.get(f"{REACTIONS}/{target}", user=user))["reaction"] == "haha"
    await api.call("DELETE", f"{REACTIONS}?target_id={target}", headers=acting)
    assert (await api.counts(target))["total"] == 0


async def test_a_service_token_with_a_user_acts_for_that_user(api: Api, target: str, user: str) -> None:
    body = {"target_id": target, "reaction_type": "haha"}
    await api.call("PUT", REACTIONS, headers=api.bearer(user, service=True), json=body)
    assert (await api.get(f"{REACTIONS}/{target}", user=user))["reaction"] == "haha"


async def test_the_first_tap_says_what_the_target_is(api: Api, target: str, user: str) -> None:
    body = {"target_id": target, "reaction_type": "like"}
    headers = api.bearer(user)
    await api.call("PUT", REACTIONS, headers=headers, json=body | {"target_type": "comment"})
    await api.call("PUT", REACTIONS, headers=headers, json=body | {"target_type": "comment"})
    await api.call("PUT", REACTIONS, headers=headers, json=body)
    with nothing_stored(api):
        other = body | {"target_type": "post"}
        refused = await api.call("POST", REACTIONS, headers=headers, json=other, status=422)
    assert_problem(refused, "target_type_mismatch", "target_type")


async def test_json_may_be_written_as_one_likes(api: Api, target: str, user: str) -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in target)
    content = f' {{ "reaction_type" : "lik\\u0065" ,\n"t\\u0061rget_id":"{escaped}" }} '
    headers = api.bearer(user) | {"Content-Type": "Application/JSON; charset=utf-8"}
    answer = (await api.call("POST", REACTIONS, headers=headers, content=content)).json()
    assert (answer["target_id"], answer["reaction"]) == (target, "like")
