"""Reads that are refused: lists of targets, limits, types, cursors, and ids in paths."""

import base64
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.api import (
    COUNTS,
    FEED,
    ME,
    MINE,
    REACTIONS,
    Api,
    assert_problem,
    fresh,
    nothing_stored,
    open_api,
)

HUNDRED_AND_ONE = [f"t{number}" for number in range(101)]
ONE_TOO_MANY = ",".join(HUNDRED_AND_ONE)

IDS: dict[str, tuple[str, str]] = {
    "": ("missing_parameter", "target_ids"),
    "target_ids=": ("missing_parameter", "target_ids"),
    "target_ids": ("missing_parameter", "target_ids"),
    "_=1": ("missing_parameter", "target_ids"),
    f"target_ids={ONE_TOO_MANY}": ("too_many_targets", "target_ids"),
    f"target_ids={ONE_TOO_MANY.replace(',', '%2C')}": ("too_many_targets", "target_ids"),
    "target_ids=" + "," * 10_000: ("too_many_targets", "target_ids"),
    "target_ids=a,a": ("repeated_target", "target_ids"),
    "target_ids=a%2Cb%2Ca": ("repeated_target", "target_ids"),
    "target_ids=a,%61": ("repeated_target", "target_ids"),
    "target_ids=a,": ("invalid_target_id", "target_ids"),
    "target_ids=,a": ("invalid_target_id", "target_ids"),
    "target_ids=,": ("invalid_target_id", "target_ids"),
    "target_ids=a,+b": ("invalid_target_id", "target_ids"),
    "target_ids=a,%20b": ("invalid_target_id", "target_ids"),
    "target_ids=a%00b": ("invalid_target_id", "target_ids"),
    "target_ids=a%252Cb": ("invalid_target_id", "target_ids"),
    "target_ids=%F0%9F%91%8D": ("invalid_target_id", "target_ids"),
    "target_ids=a/b": ("invalid_target_id", "target_ids"),
    "target_ids=a;b": ("invalid_target_id", "target_ids"),
    "target_ids=[a]": ("invalid_target_id", "target_ids"),
    "target_ids=a,feed": ("invalid_target_id", "target_ids"),
    "target_ids=counts": ("invalid_target_id", "target_ids"),
    "target_ids=..": ("invalid_target_id", "target_ids"),
    "target_ids=" + "x" * 129: ("invalid_target_id", "target_ids"),
    "target_ids=a&target_ids=b": ("invalid_parameter", "target_ids"),
    "target_ids=a&target%5fids=b": ("invalid_parameter", "target_ids"),
    "target_ids[]=a": ("unknown_parameter", "target_ids[]"),
    "target_id=a": ("unknown_parameter", "target_id"),
    "target_ids=a&limit=1": ("unknown_parameter", "limit"),
    "target_ids=a&" + "x" * 100 + "=1": ("unknown_parameter", "x" * 64),
    "target_ids=a&%00=1": ("unknown_parameter", "\0"),
    "target_ids=a&%F0%9F%91%8D": ("unknown_parameter", "👍"),
}
UNREADABLE = ["target_ids=%FF", "target_ids=a&_=%FF", "%C3=a", "target_ids=a" + "&_" * 40]


@pytest.mark.parametrize("path", [COUNTS, FEED, MINE])
@pytest.mark.parametrize("query", IDS, ids=lambda query: query[:30])
async def test_a_bad_list_in_a_query_is_refused(api: Api, user: str, path: str, query: str) -> None:
    code, blamed = IDS[query]
    for known in (HUNDRED_AND_ONE[1:], ["t0", "a", "b"]):  # the near cache must not let them through
        await api.get(f"{COUNTS}?target_ids={','.join(known)}")
    with nothing_stored(api):
        refused = await api.call("GET", f"{path}?{query}", headers=api.bearer(user), status=422)
        assert_problem(refused, code, blamed)


@pytest.mark.parametrize("path", [COUNTS, FEED, MINE, ME, f"{REACTIONS}/t", f"{REACTIONS}/t/reactors"])
@pytest.mark.parametrize("query", UNREADABLE, ids=lambda query: query[:30])
async def test_an_unreadable_query_is_refused(api: Api, user: str, path: str, query: str) -> None:
    refused = await api.call("GET", f"{path}?{query}", headers=api.bearer(user), status=422)
    if "target_ids" not in query or path in (COUNTS, FEED, MINE):
        assert_problem(refused, "invalid_parameter")


LISTS: dict[str, tuple[str, str, str | None]] = {
    "empty": ('{"target_ids": []}', "missing_parameter", "target_ids"),
    "101": (str({"target_ids": HUNDRED_AND_ONE}).replace("'", '"'), "too_many_targets", "target_ids"),
    "repeated": ('{"target_ids": ["a", "b", "a"]}', "repeated_target", "target_ids"),
    "repeated as integer": ('{"target_ids": ["1", 1]}', "repeated_target", "target_ids"),
    "repeated as escape": ('{"target_ids": ["a", "\\u0061"]}', "repeated_target", "target_ids"),
    "space": ('{"target_ids": ["a b"]}', "invalid_target_id", "target_ids"),
    "comma": ('{"target_ids": ["a,b"]}', "invalid_target_id", "target_ids"),
    "NUL": ('{"target_ids": ["\\u0000"]}', "invalid_target_id", "target_ids"),
    "emoji": ('{"target_ids": ["👍"]}', "invalid_target_id", "target_ids"),
    "reserved": ('{"target_ids": ["a", "mine"]}', "invalid_target_id", "target_ids"),
    "129 characters": (f'{{"target_ids": ["{"x" * 129}"]}}', "invalid_target_id", "target_ids"),
    "null in it": ('{"target_ids": ["a", null]}', "invalid_field", "target_ids[1]"),
    "float in it": ('{"target_ids": [1.0]}', "invalid_field", "target_ids[0]"),
    "bool in it": ('{"target_ids": [true]}', "invalid_field", "target_ids[0]"),
    "list in it": ('{"target_ids": [["a"]]}', "invalid_field", "target_ids[0]"),
    "object in it": ('{"target_ids": ["a", "b", {"a": 1, "a": 1}]}', "invalid_field", "target_ids[2]"),
    "text": ('{"target_ids": "a,b"}', "invalid_field", "target_ids"),
    "null": ('{"target_ids": null}', "invalid_field", "target_ids"),
    "missing": ("{}", "missing_field", "target_ids"),
    "twice": ('{"target_ids": ["a"], "target_ids": ["b"]}', "duplicate_field", "target_ids"),
    "twice, escaped": ('{"target_ids": ["a"], "target\\u005fids": ["b"]}', "duplicate_field", "target_ids"),
    "unknown field": ('{"target_ids": ["a"], "user": "eve"}', "unknown_field", "user"),
    "only a list": ('["a"]', "invalid_field", None),
    "deep": ('{"target_ids": ' + "[" * 9000 + "]" * 9000 + "}", "body_too_large", None),
    "less deep": ('{"target_ids": ' + "[" * 8000 + "]" * 8000 + "}", "invalid_field", "target_ids[0]"),
    "nothing": ("", "invalid_json", None),
    "half": ('{"target_ids": ["a"', "invalid_json", None),
}


@pytest.mark.parametrize("path", [FEED, MINE])
@pytest.mark.parametrize("name", LISTS)
async def test_a_bad_list_in_a_body_is_refused(api: Api, user: str, path: str, name: str) -> None:
    body, code, blamed = LISTS[name]
    headers = api.bearer(user) | {"Content-Type": "application/json"}
    with nothing_stored(api):
        assert_problem(await api.client.post(path, headers=headers, content=body), code, blamed)


@pytest.mark.parametrize("path", [FEED, MINE])
async def test_a_list_in_a_body_is_json_and_has_no_query(api: Api, user: str, path: str) -> None:
    body: dict[str, Any] = {"target_ids": ["a"]}
    refused = await api.call("POST", f"{path}?target_ids=a", headers=api.bearer(user), json=body, status=422)
    assert_problem(refused, "unknown_parameter", "target_ids")
    refused = await api.call("POST", path, headers=api.bearer(user), data={"target_ids": "a"}, status=415)
    assert_problem(refused, "unsupported_media_type", "Content-Type")


NO_TARGETS = [
    "%20",
    "a%20b",
    "a,b",
    "%00",
    "a%0A",
    "x" * 129,
    "%F0%9F%91%8D",
    "%FF",
    "stream",
    "%2E",
    "a%25b",
]


@pytest.mark.parametrize("segment", NO_TARGETS)
async def test_what_is_no_target_id_in_a_path_is_refused(api: Api, user: str, segment: str) -> None:
    with nothing_stored(api):
        for method, path, headers in [
            ("GET", f"{REACTIONS}/{segment}/reactors", api.bearer(user)),
            ("PUT", f"/api/v1/targets/{segment}", api.host),
            ("DELETE", f"/api/v1/targets/{segment}", api.host),
        ]:
            body: Any = {} if method == "PUT" else None
            refused = await api.call(method, path, headers=headers, json=body, status=422)
            assert_problem(refused, "invalid_target_id", "target_id")
        if segment not in {"%2E", "stream"}:  # a client takes the first out of a path, the second is a call
            refused = await api.call("GET", f"{REACTIONS}/{segment}", headers=api.bearer(user), status=422)
            assert_problem(refused, "invalid_target_id", "target_id")


@pytest.mark.parametrize(
    "limit", ["0", "-1", "101", "x", "", "1.0", "1e1", "+5", "%205", "0x10", "1000", "٣", "²"]
)
async def test_a_bad_limit_is_refused(api: Api, user: str, limit: str) -> None:
    for path in (f"{REACTIONS}/t/reactors", ME):
        url = f"{path}?limit={quote(limit, safe='%+')}"
        refused = await api.call("GET", url, headers=api.bearer(user), status=422)
        assert_problem(refused, "invalid_parameter", "limit")


@pytest.mark.parametrize("kind", ["", "dislike", "Like", "like,love", "none", "1", "%00"])
async def test_a_bad_type_is_refused(api: Api, kind: str) -> None:
    refused = await api.call("GET", f"{REACTIONS}/t/reactors?type={kind}", status=422)
    assert_problem(refused, "unknown_reaction", "type")


@pytest.mark.parametrize(
    ("url", "blamed"),
    [
        (f"{REACTIONS}/t?x=1", "x"),
        (f"{REACTIONS}/t?target_ids=t", "target_ids"),
        (f"{REACTIONS}/t/reactors?target_ids=t", "target_ids"),
        (f"{REACTIONS}/t/reactors?offset=20", "offset"),
        (f"{ME}?type=like", "type"),
    ],
)
async def test_unknown_parameters_are_refused_by_name(api: Api, user: str, url: str, blamed: str) -> None:
    refused = await api.call("GET", url, headers=api.bearer(user), status=422)
    assert_problem(refused, "unknown_parameter", blamed)


@pytest.mark.parametrize("name", ["limit", "cursor"])
async def test_a_parameter_stands_once(api: Api, user: str, name: str) -> None:
    for path in (f"{REACTIONS}/t/reactors", ME):
        refused = await api.call("GET", f"{path}?{name}=1&{name}=1", headers=api.bearer(user), status=422)
        assert_problem(refused, "invalid_parameter", name)


async def cursor_of(api: Api, path: str, user: str) -> str:
    """A good cursor of a list that has two pages."""
    separator = "&" if "?" in path else "?"
    cursor = (await api.get(f"{path}{separator}limit=1", user=user))["next_cursor"]
    assert isinstance(cursor, str)
    return cursor


async def refuse_cursor(api: Api, path: str, user: str, cursor: str) -> None:
    separator = "&" if "?" in path else "?"
    url = f"{path}{separator}cursor={quote(cursor)}"
    refused = await api.call("GET", url, headers=api.bearer(user), status=422)
    assert_problem(refused, "invalid_cursor", "cursor")
    assert cursor not in refused.text or len(cursor) < 8


@pytest.fixture
async def listed(api: Api, target: str, user: str, anyio_backend: str) -> list[str]:
    """Lists with two entries each."""
    for somebody in (user, fresh("u")):
        for something in (target, fresh("t")):
            await api.tap(somebody, something)
    reactors = f"{REACTIONS}/{target}/reactors"
    return [reactors, f"{reactors}?type=like", ME]


async def test_a_cursor_is_for_the_list_it_was_given_for(api: Api, user: str, listed: list[str]) -> None:
    other_target, other_user = fresh("t"), fresh("u")
    for somebody in (other_user, fresh("u")):
        await api.tap(somebody, other_target)
        await api.tap(somebody, fresh("t"))
    await api.tap(other_user, fresh("t"))
    cursors = {path: await cursor_of(api, path, user) for path in listed}
    foreign = [
        *cursors.values(),
        await cursor_of(api, f"{REACTIONS}/{other_target}/reactors", user),
        await cursor_of(api, ME, other_user),
    ]
    for path, own in cursors.items():
        for cursor in foreign:
            if cursor != own:
                await refuse_cursor(api, path, user, cursor)
    await refuse_cursor(api, f"{listed[0]}?type=love", user, cursors[listed[1]])


async def test_a_cursor_of_another_installation_is_refused(
    api: Api, user: str, listed: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("data")
    async with open_api(folder, auth_secret="another secret, also of 32 characters") as other:
        await other.tap(user, "a")
        await other.tap(user, "b")
        await refuse_cursor(api, ME, user, await cursor_of(other, ME, user))


async def test_a_changed_cursor_is_refused(api: Api, user: str, listed: list[str]) -> None:
    for path in listed:
        good = await cursor_of(api, path, user)
        raw = bytearray(base64.urlsafe_b64decode(good + "=" * (-len(good) % 4)))
        for place in range(0, len(raw), 3):
            raw[place] ^= 1
            await refuse_cursor(api, path, user, base64.urlsafe_b64encode(raw).decode().rstrip("="))
            raw[place] ^= 1
        for cut in (good[:-4], good[4:], good + "AAAA", good[: len(good) // 2]):
            await refuse_cursor(api, path, user, cut)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "0",
        "null",
        "=",
        "====",
        "-",
        "AAAA",
        "A" * 11,
        "A" * 22,
        "A" * 5000,
        "é",
        "👍",
        " ",
        "a b",
        "\0",
        "../..",
        "%",
    ],
)
async def test_what_was_never_a_cursor_is_refused(api: Api, user: str, cursor: str) -> None:
    for path in (f"{REACTIONS}/t/reactors", ME, "/api/v1/me/notifications"):
        await refuse_cursor(api, path, user, cursor)
