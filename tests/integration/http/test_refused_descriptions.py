"""Descriptions of targets and users that are refused, and addresses that do not exist."""

import json
from typing import Any

import pytest

from plaudit.http.call import Call
from plaudit.http.calls import CALLS
from tests.support.api import REACTIONS, Api, assert_problem, nothing_stored

CONTROLS = ["\0", "a\nb", "\x1b[31m", "\x7f", "a\u2028b", "\u2029"]
BLANK = ["", " ", "\u3000", "\u00a0 "]

# Field, code, and values that get it.
Refused = list[tuple[str, str, list[Any]]]

TARGETS: Refused = [
    ("title", "invalid_field", [*CONTROLS, *BLANK, "x" * 301, 1, True, [], {}]),
    ("owner_id", "invalid_user_id", ["", "a b", "a,b", '"', "<x>", "ä", "\0", "x" * 129, 10**128]),
    ("owner_id", "invalid_field", [1.0, True, [], {}]),
    ("target_type", "unknown_target_type", ["", "video", "Post", "post\0"]),
    ("target_type", "invalid_field", [None, 1, []]),
    ("closed", "invalid_field", [None, 0, 1, "true", []]),
    ("allowed", "unknown_reaction", [["like", "dislike"], [""], ["👍"], ["Like"]]),
    ("allowed", "invalid_field", ["like", {"like": True}, 1, True]),
    ("reactions", "unknown_field", [["like"]]),
    ("Title", "unknown_field", ["x"]),
    ("", "unknown_field", [1]),
]
USERS: Refused = [
    ("name", "invalid_field", [*CONTROLS, *BLANK, "x" * 101, 1, True, [], {}]),
    ("avatar_url", "invalid_field", ["", "a.png", "//evil.example/a.png", "javascript:alert(1)"]),
    ("avatar_url", "invalid_field", ["data:image/png;base64,AAAA", "ftp://example.org/a", "https://", 1]),
    ("avatar_url", "invalid_field", ["/\\evil.example/a.png", "http://[", "https://a/<b>", 'https://a/"']),
    (
        "avatar_url",
        "invalid_field",
        ["https://exa mple.org", "https://example.org/ä", "/a\n", "/" + "x" * 2000],
    ),
    ("locale", "invalid_field", ["", "e", "en_", "en-", "en US", "englishman", "en\n", "ë", 1]),
    ("time_zone", "invalid_field", ["", "Mars/Olympus", "europe/paris", "../../etc/passwd"]),
    ("time_zone", "invalid_field", ["UTC\0", "+01:00", 1]),
    ("id", "unknown_field", ["x"]),
]


def one_by_one(table: Refused) -> list[tuple[str, Any, str]]:
    return [(field, value, code) for field, code, values in table for value in values]


@pytest.mark.parametrize(("field", "value", "code"), one_by_one(TARGETS))
async def test_a_bad_description_of_a_target_is_refused(
    api: Api, target: str, field: str, value: Any, code: str
) -> None:
    with nothing_stored(api):
        path, body = f"/api/v1/targets/{target}", {field: value}
        assert_problem(await api.call("PUT", path, headers=api.host, json=body, status=422), code, field)


@pytest.mark.parametrize(("field", "value", "code"), one_by_one(USERS))
async def test_a_bad_description_of_a_user_is_refused(
    api: Api, user: str, field: str, value: Any, code: str
) -> None:
    with nothing_stored(api):
        path, body = f"/api/v1/users/{user}", {field: value}
        assert_problem(await api.call("PUT", path, headers=api.host, json=body, status=422), code, field)


async def test_the_place_in_a_list_is_named(api: Api, target: str) -> None:
    body = {"allowed": ["like", None]}
    refused = await api.call("PUT", f"/api/v1/targets/{target}", headers=api.host, json=body, status=422)
    assert_problem(refused, "invalid_field", "allowed[1]")


BODIES: dict[str, tuple[bytes, str, str | None]] = {
    "twice": (b'{"%b": "a", "%b": "b"}', "duplicate_field", "%b"),
    "twice, one null": (b'{"%b": "a", "%b": null}', "duplicate_field", "%b"),
    "unknown, twice inside": (b'{"x": {"a": 1, "a": 2}}', "unknown_field", "x"),
    "a list": (b"[]", "invalid_field", None),
    "nothing": (b"", "invalid_json", None),
    "half": (b'{"%b": "a', "invalid_json", None),
    "invalid UTF-8": (b'{"%b": "\xff"}', "invalid_json", None),
    "half a surrogate": (b'{"%b": "\\udc00"}', "invalid_json", None),
    "16 KiB + 1": (b"{}".ljust(16 * 1024 + 1), "body_too_large", None),
}


@pytest.mark.parametrize(("path", "field"), [("/api/v1/targets/t", "title"), ("/api/v1/users/u", "name")])
@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_body_is_refused(api: Api, path: str, field: str, name: str) -> None:
    body, code, blamed = BODIES[name]
    content = body.replace(b"%b", field.encode())
    headers = api.host | {"Content-Type": "application/json"}
    with nothing_stored(api):
        refused = await api.client.put(path, headers=headers, content=content)
        assert_problem(refused, code, field if blamed == "%b" else blamed)
        refused = await api.call("PUT", path, headers=api.host, content=b"{}", status=415)
        assert_problem(refused, "unsupported_media_type", "Content-Type")
        refused = await api.call("PUT", f"{path}?closed=1", headers=api.host, json={}, status=422)
        assert_problem(refused, "unknown_parameter", "closed")


async def test_a_key_twice_is_seen_however_it_is_written(api: Api) -> None:
    headers = api.host | {"Content-Type": "application/json"}
    keys = ["name", "\\u006eame", "n\\u0061me", "nam\\u0065"]
    with nothing_stored(api):
        for first in keys:
            for second in keys:
                content = f'{{"{first}": "a", "locale": "en", "{second}": "b"}}'
                refused = await api.client.put("/api/v1/users/u", headers=headers, content=content)
                assert_problem(refused, "duplicate_field", "name")


NO_USERS = [
    "%20",
    "a%20b",
    "a,b",
    "%22",
    "%3Ca%3E",
    "a%5Cb",
    "%00",
    "a%0Ab",
    "x" * 129,
    "%F0%9F%91%8D",
    "%FF",
    "",
]


@pytest.mark.parametrize("segment", NO_USERS)
async def test_what_is_no_user_id_in_a_path_is_refused(api: Api, segment: str) -> None:
    with nothing_stored(api):
        for method in ("PUT", "DELETE"):
            body: Any = {} if method == "PUT" else None
            path = f"/api/v1/users/{segment}"
            refused = await api.client.request(method, path, headers=api.host, json=body)
            if "%0A" in segment:
                assert_problem(refused, "not_found")
            else:
                assert_problem(refused, "invalid_user_id", "user_id")


@pytest.mark.parametrize("job", ["x", "job_", "job_" + "0" * 20, "%00", "x" * 5000, "%F0%9F%91%8D", "%FF"])
async def test_a_job_nobody_began_is_not_found(api: Api, job: str) -> None:
    refused = await api.call("GET", f"/api/v1/jobs/{job}", headers=api.host, status=404)
    assert_problem(refused, "job_not_found", "job_id")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/v1",
        "/api/v2/reactions",
        "/api/v1/reactions/",
        "/api/v1/reactions/t/",
        "/api/v1/reactions/t/reactors/",
        "/api/v1/reactions/a/b/c",
        "/api/v1/reactions/a%2Fb",
        "/api/v1/jobs/",
        "/api/v1/jobs/x/",
        "/api/v1/targets",
        "/API/V1/REACTIONS",
        "//api/v1/reactions",
        "/healthz/",
        "/" + "x" * 5000,
        "/%00%FF%F0%9F%91%8D",
        "/.env",
    ],
)
@pytest.mark.parametrize("host", ["plaudit.test", "[", "evil.example", "a b", ""])
async def test_there_is_nothing_at_other_addresses(api: Api, path: str, host: str) -> None:
    response = await api.client.get(path, headers={"Host": host})
    assert_problem(response, "not_found")
    assert "location" not in response.headers
    assert host in ("", "a b", "[") or host not in response.text


@pytest.mark.parametrize("end", ["{}/", "{}//", "/{}", "//{}", "/{}/", "/", "{}%2F/"])
@pytest.mark.parametrize(
    "call", [call for call in CALLS if call.path.endswith("}")], ids=lambda call: call.id
)
async def test_a_slash_too_many_is_nobody_else(api: Api, call: Call, end: str, user: str) -> None:
    await api.describe(user, name="Ann")
    address = call.path.partition("{")[0] + end.format(user)
    refused = await api.call(call.method.upper(), address, headers=api.host, status=404, json={})
    assert_problem(refused, "not_found")


METHODS = [
    (f"{REACTIONS}/t", "GET", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    (f"{REACTIONS}/t/reactors", "GET", ["POST", "PUT", "DELETE"]),
    (f"{REACTIONS}/feed", "GET, POST", ["PUT", "DELETE"]),
    (f"{REACTIONS}/mine", "GET, POST", ["PUT", "PATCH"]),
    ("/api/v1/me/reactions", "GET", ["POST", "DELETE"]),
    ("/api/v1/targets/t", "DELETE, GET, PUT", ["POST", "PATCH"]),
    ("/api/v1/users/u", "DELETE, PUT", ["GET", "POST", "PATCH"]),
    ("/api/v1/jobs/j", "GET", ["POST", "PUT", "DELETE"]),
    ("/healthz", "GET", ["POST"]),
    ("/metrics", "GET", ["POST"]),
]


@pytest.mark.parametrize(("path", "allowed", "methods"), METHODS)
async def test_other_methods_are_told_which_ones_there_are(
    api: Api, path: str, allowed: str, methods: list[str]
) -> None:
    for method in methods:
        refused = await api.call(method, path, headers=api.host, status=405)
        assert_problem(refused, "method_not_allowed")
        told = {name.strip() for name in refused.headers["allow"].split(",")}
        assert told - {"HEAD"} == set(allowed.split(", "))
        assert json.loads(refused.text)["detail"].startswith(method)
