"""Who may see and do what: grants, service scope, public counts, registered targets."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx
import pytest

from tests.support.api import (
    COUNTS,
    FEED,
    ME,
    MINE,
    REACTIONS,
    Api,
    assert_problem,
    counts_of,
    fresh,
    nothing_stored,
    open_api,
)


class Call(NamedTuple):
    """One call about a target, and the field that a refusal blames."""

    method: str
    path: str
    field: str
    body: dict[str, object] | None = None
    needs_user: bool = False


TAPS = [
    Call("POST", REACTIONS, "target_id", {"target_id": "{t}", "reaction_type": "like"}, needs_user=True),
    Call("PUT", REACTIONS, "target_id", {"target_id": "{t}", "reaction_type": "like"}, needs_user=True),
    Call("PUT", REACTIONS, "target_id", {"target_id": "{t}", "reaction_type": None}, needs_user=True),
    Call("DELETE", f"{REACTIONS}?target_id={{t}}", "target_id", needs_user=True),
]
READS = [
    Call("GET", f"{COUNTS}?target_ids={{t}}", "target_ids"),
    Call("GET", f"{COUNTS}?target_ids=an-open-one,{{t}}&_=1", "target_ids"),
    Call("GET", f"{FEED}?target_ids=an-open-one,{{t}}", "target_ids"),
    Call("POST", FEED, "target_ids", {"target_ids": ["{t}"]}),
    Call("GET", f"{MINE}?target_ids={{t}},an-open-one", "target_ids", needs_user=True),
    Call("POST", MINE, "target_ids", {"target_ids": ["{t}"]}, needs_user=True),
    Call("GET", f"{REACTIONS}/{{t}}", "target_id"),
    Call("GET", f"{REACTIONS}/{{t}}/reactors", "target_id"),
    Call("GET", f"{REACTIONS}/{{t}}/reactors?type=like", "target_id"),
]
every_tap = pytest.mark.parametrize("call", TAPS, ids=lambda call: f"{call.method}-{call.body}")
every_read = pytest.mark.parametrize("call", READS, ids=lambda call: f"{call.method} {call.path}")


async def send(api: Api, call: Call, target: str, headers: dict[str, str]) -> httpx.Response:
    body = None
    if call.body is not None:
        filled = {"{t}": target}
        body = {
            name: filled.get(str(value), [target] if isinstance(value, list) else value)
            for name, value in call.body.items()
        }
    url = call.path.replace("{t}", target)
    return await api.client.request(call.method, url, headers=headers, json=body)


@pytest.fixture(scope="module")
async def private(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Api]:
    async with open_api(tmp_path_factory.mktemp("data"), public_counts=False) as opened:
        yield opened


@pytest.fixture(scope="module")
async def registered(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Api]:
    async with open_api(tmp_path_factory.mktemp("data"), targets="registered") as opened:
        yield opened


@pytest.fixture
async def message(api: Api, anyio_backend: str) -> str:
    """A registered target of a type that needs a grant, with one reaction."""
    target = fresh("chat:7:")
    await api.register(target, target_type="message")
    body = {"target_id": target, "reaction_type": "love"}
    await api.call("PUT", REACTIONS, headers=api.bearer("eve", grants=[target]), json=body)
    return target


@every_read
@pytest.mark.parametrize("warm", [True, False])
async def test_without_a_token_a_granted_target_is_not_there(
    api: Api, message: str, call: Call, warm: bool
) -> None:
    if warm:
        await api.call("GET", f"{COUNTS}?target_ids={message}", headers=api.host)
    refused = await send(api, call, message, {})
    assert_problem(refused, "token_missing", None if call.needs_user else call.field)


@every_tap
async def test_without_a_token_there_is_no_tap(api: Api, message: str, call: Call) -> None:
    with nothing_stored(api):
        assert_problem(await send(api, call, message, {}), "token_missing")


GRANTS = [
    ([], False),
    (["chat:8:*"], False),
    (["chat:7"], False),
    (["*:7:"], False),
    (["CHAT:7:*"], False),
    (["{t}x"], False),
    (["{t}*"], True),
    (["{t}"], True),
    (["other", "chat:7:*"], True),
    (["chat:*"], True),
    (["*"], True),
]


@pytest.mark.parametrize("call", TAPS + READS, ids=lambda call: f"{call.method} {call.path} {call.body}")
async def test_a_grant_opens_what_it_names(api: Api, message: str, user: str, call: Call) -> None:
    for grants, opens in GRANTS:
        named = [grant.replace("{t}", message) for grant in grants]
        before = api.stored()
        response = await send(api, call, message, api.bearer(user, grants=named))
        if opens:
            assert response.status_code == 200, (named, response.text)
        else:
            assert_problem(response, "target_not_granted", call.field)
            assert api.stored() == before


@pytest.mark.parametrize("call", [COUNTS, FEED, MINE, f"{REACTIONS}/stream"])
@pytest.mark.parametrize("signed_in", [True, False])
async def test_a_refusal_names_all_that_it_is_for(api: Api, user: str, call: str, signed_in: bool) -> None:
    secret = [fresh("m:") for _ in range(3)]
    for one in secret:
        await api.register(one, target_type="message")
    headers = api.bearer(user, grants=[secret[1]]) if signed_in else {}
    wanted = ",".join([secret[2], "an-open-one", *secret[:2]])
    response = await api.client.get(f"{call}?target_ids={wanted}", headers=headers)
    if call == MINE and not signed_in:
        assert_problem(response, "token_missing")
        assert "target_ids" not in response.json(), "it is for none of them"
        return
    assert_problem(response, "target_not_granted" if signed_in else "token_missing", "target_ids")
    refused = [secret[2], secret[0]] if signed_in else [secret[2], *secret[:2]]
    assert response.json()["target_ids"] == refused
    assert refused[0] in response.json()["detail"]


@pytest.mark.parametrize("call", TAPS + READS, ids=lambda call: f"{call.method} {call.path} {call.body}")
async def test_the_host_app_needs_no_grant(api: Api, message: str, user: str, call: Call) -> None:
    response = await send(api, call, message, api.host | {"Plaudit-User": user})
    assert response.status_code == 200, response.text


async def test_counts_of_granted_targets_are_for_no_shared_cache(api: Api, message: str, user: str) -> None:
    headers = api.bearer(user, grants=["*"])
    for _ in range(2):
        response = await api.call("GET", f"{COUNTS}?target_ids={message}", headers=headers)
        assert response.headers["cache-control"] == "private, max-age=1"
        assert response.headers["vary"] == "authorization"
        assert response.json()["counts"] == {message: counts_of(2, love=1)}


@every_tap
async def test_a_granted_type_exists_by_registration_only(
    api: Api, target: str, user: str, call: Call
) -> None:
    if call.method == "DELETE":
        return
    typed = call._replace(body={**(call.body or {}), "target_type": "message"})
    with nothing_stored(api):
        refused = await send(api, typed, target, api.bearer(user))
        assert_problem(refused, "target_not_granted", "target_id")
        refused = await send(api, typed, target, api.bearer(user, grants=[target]))
        assert_problem(refused, "target_not_registered", "target_id")


async def test_a_target_that_becomes_a_message_is_shut_at_once(api: Api, target: str, user: str) -> None:
    await api.tap(user, target)
    await api.counts(target)
    await api.register(target, target_type="message")
    refused = await api.call("GET", f"{COUNTS}?target_ids={target}", status=401)
    assert_problem(refused, "token_missing", "target_ids")
    await api.register(target, target_type="comment")
    assert (await api.counts(target))["total"] == 1


@every_read
async def test_counts_and_lists_may_need_a_token(private: Api, target: str, user: str, call: Call) -> None:
    await private.tap(user, target)
    for _ in range(2):
        refused = await send(private, call, target, {})
        assert_problem(refused, "token_missing", None if call.needs_user else call.field)
        seen = await send(private, call, target, private.bearer(fresh("u")))
        assert seen.status_code == 200
        if call.path.startswith(COUNTS):
            assert seen.headers["cache-control"] == "private, max-age=1"
            assert seen.headers["vary"] == "authorization"


@every_tap
async def test_targets_may_have_to_be_registered(registered: Api, target: str, user: str, call: Call) -> None:
    with nothing_stored(registered):
        refused = await send(registered, call, target, registered.bearer(user))
        assert_problem(refused, "target_not_registered", "target_id")
        assert await registered.counts(target) == counts_of(0)
    await registered.register(target)
    assert (await send(registered, call, target, registered.bearer(user))).status_code == 200


async def test_a_target_deleted_and_not_registered_again_is_gone(registered: Api, target: str) -> None:
    await registered.register(target)
    await registered.tap("ann", target)
    await registered.remove(f"/api/v1/targets/{target}")
    refused = await send(registered, TAPS[0], target, registered.bearer("ann"))
    assert_problem(refused, "target_deleted", "target_id")


HOST_CALLS: list[tuple[str, str, dict[str, object] | None]] = [
    ("PUT", "/api/v1/targets/{t}", {}),
    ("DELETE", "/api/v1/targets/{t}", None),
    ("GET", "/api/v1/targets/{t}", None),
    ("PUT", "/api/v1/users/{t}", {}),
    ("DELETE", "/api/v1/users/{t}", None),
    ("GET", "/api/v1/jobs/{t}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), HOST_CALLS)
async def test_some_calls_are_for_the_host_app(
    api: Api, target: str, user: str, method: str, path: str, body: dict[str, object] | None
) -> None:
    url = path.format(t=target)
    with nothing_stored(api):
        refused = await api.call(method, url, json=body, status=401)
        assert_problem(refused, "token_missing")
        headers = api.bearer(user, grants=["*"])
        refused = await api.call(method, url, headers=headers, json=body, status=403)
        assert_problem(refused, "scope_missing")
        assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]


USER_CALLS = [*TAPS, *READS[2:8], Call("GET", ME, "")]


@pytest.mark.parametrize("call", USER_CALLS, ids=lambda call: f"{call.method} {call.path} {call.body}")
async def test_nobody_else_acts_for_a_user(api: Api, target: str, user: str, call: Call) -> None:
    with nothing_stored(api):
        for named in (user, fresh("somebody-else-")):
            refused = await send(api, call, target, api.bearer(user) | {"Plaudit-User": named})
            assert_problem(refused, "scope_missing")


@pytest.mark.parametrize(
    "call",
    [call for call in USER_CALLS if call.needs_user or call.path == ME],
    ids=lambda call: f"{call.method} {call.path} {call.body}",
)
async def test_the_host_app_says_for_whom(api: Api, target: str, call: Call) -> None:
    with nothing_stored(api):
        assert_problem(await send(api, call, target, api.host), "missing_parameter", "Plaudit-User")
        for named in ("", " ", "a b", "a,b", '"', "x" * 129, "\x7f", "<"):
            refused = await send(api, call, target, api.host | {"Plaudit-User": named})
            assert_problem(refused, "invalid_user_id", "Plaudit-User")


async def test_own_reactions_need_a_token(api: Api) -> None:
    assert_problem(await api.call("GET", ME, status=401), "token_missing")
