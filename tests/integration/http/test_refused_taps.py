"""Taps that are refused: which code, which field, and that nothing is stored."""

import json
from typing import Any, NamedTuple

import pytest

from tests.support.api import REACTIONS, Api, assert_problem, fresh, nothing_stored

T = '"target_id": "t"'
R = '"reaction_type": "like"'


class Bad(NamedTuple):
    """A body, and what is said about it."""

    body: str | bytes
    code: str
    field: str | None = None


def field(name: str, value: str) -> str:
    """A tap in which one field has another value, written as JSON."""
    whole = {"target_id": '"t"', "reaction_type": '"like"', "target_type": '"post"', name: value}
    return "{" + ", ".join(f'"{key}": {text}' for key, text in whole.items()) + "}"


NO_TARGETS = {
    "empty": '""',
    "space": '"a b"',
    "leading space": '" a"',
    "comma": '"a,b"',
    "NUL": r'"a\u0000b"',
    "newline at the end": r'"a\n"',
    "129 characters": json.dumps("x" * 129),
    "emoji": '"👍"',
    "escaped emoji": r'"\ud83d\udc4d"',
    "umlaut": '"ä"',
    "full-width digit": '"１"',
    "slash": '"a/b"',
    "percent": '"a%20b"',
    "quote": r'"a\"b"',
    "backslash": r'"a\\b"',
    "plus": '"a+b"',
    "counts": '"counts"',
    "mine": '"mine"',
    "feed": '"feed"',
    "stream": '"stream"',
    "escaped stream": r'"\u0073tream"',
    "dot": '"."',
    "two dots": '".."',
    "129 digits": "1" * 129,
    "129 digits and a sign": "-" + "1" * 129,
}
NO_IDS = {
    "float": "1.5",
    "whole float": "1.0",
    "exponent": "1e2",
    "minus zero float": "-0.0",
    "infinite": "1e400",
    "5000 digits": "1" * 5000,
    "true": "true",
    "false": "false",
    "null": "null",
    "list": '["t"]',
    "object": '{"id": "t"}',
    "nested deeply": "[" * 5000 + "]" * 5000,
}
BAD = {
    **{
        f"target {name}": Bad(field("target_id", v), "invalid_target_id", "target_id")
        for name, v in NO_TARGETS.items()
    },
    **{
        f"target {name}": Bad(field("target_id", v), "invalid_field", "target_id")
        for name, v in NO_IDS.items()
    },
    **{
        f"reaction {value[:12]}": Bad(field("reaction_type", value), "unknown_reaction", "reaction_type")
        for value in [
            '""',
            '"dislike"',
            '"Like"',
            '"LIKE"',
            '" like"',
            '"👍"',
            '"none"',
            '"null"',
            '"1"',
            r'"like\u0000"',
        ]
    },
    **{
        f"reaction {value[:12]}": Bad(field("reaction_type", value), "invalid_field", "reaction_type")
        for value in ["1", "0", "1.5", "true", "[]", '["like"]', "{}", '{"name": "like"}']
    },
    **{
        f"type {value[:12]}": Bad(field("target_type", value), "unknown_target_type", "target_type")
        for value in ['""', '"video"', '"Post"', '"post "']
    },
    **{
        f"type {value[:12]}": Bad(field("target_type", value), "invalid_field", "target_type")
        for value in ["1", "null", "false", "[]", "{}"]
    },
    "no target": Bad(f"{{{R}}}", "missing_field", "target_id"),
    "no reaction": Bad(f"{{{T}}}", "missing_field", "reaction_type"),
    "nothing in it": Bad("{}", "missing_field", "target_id"),
    "unknown field": Bad(f'{{{T}, {R}, "user_id": "eve"}}', "unknown_field", "user_id"),
    "unknown field, cased": Bad(f'{{"Target_id": "t", {R}}}', "unknown_field", "Target_id"),
    "unknown field, nested": Bad('{"x": ' + "[" * 8000 + "]" * 8000 + "}", "unknown_field", "x"),
    "unknown field, long": Bad(f'{{"{"x" * 9000}": 1}}', "unknown_field", "x" * 64),
    "target twice": Bad(f"{{{T}, {T}, {R}}}", "duplicate_field", "target_id"),
    "target twice, differing": Bad(f'{{{T}, {R}, "target_id": "u"}}', "duplicate_field", "target_id"),
    "target twice, as number": Bad(
        f'{{"target_id": 1, {R}, "target_id": 2}}', "duplicate_field", "target_id"
    ),
    "target twice, once escaped": Bad(
        f'{{{T}, {R}, "t\\u0061rget_id": "u"}}', "duplicate_field", "target_id"
    ),
    "target twice, both escaped": Bad(
        f'{{"t\\u0061rget_id": 1, {R}, "\\u0074arget_id": 2}}', "duplicate_field", "target_id"
    ),
    "reaction twice": Bad(f'{{{T}, {R}, "reaction_type": "love"}}', "duplicate_field", "reaction_type"),
    "type twice": Bad(
        f'{{{T}, {R}, "target_type": "post", "target_type": "comment"}}', "duplicate_field", "target_type"
    ),
    "twice inside a value": Bad(f'{{"target_id": {{"a": 1, "a": 2}}, {R}}}', "invalid_field", "target_id"),
    "a list": Bad(f"[{{{T}, {R}}}]", "invalid_field"),
    "a text": Bad('"like"', "invalid_field"),
    "a number": Bad("1", "invalid_field"),
    "null": Bad("null", "invalid_field"),
    "nested lists": Bad("[" * 16_000, "invalid_field"),
    "nothing": Bad("", "invalid_json"),
    "spaces": Bad("  \n ", "invalid_json"),
    "half of it": Bad(f'{{{T}, "reaction_ty', "invalid_json"),
    "two of it": Bad(f"{{{T}, {R}}}{{{T}, {R}}}", "invalid_json"),
    "comma at the end": Bad(f"{{{T}, {R},}}", "invalid_json"),
    "single quotes": Bad("{'target_id': 't'}", "invalid_json"),
    "comment": Bad(f"{{{T}, {R} /* x */}}", "invalid_json"),
    "form": Bad("target_id=t&reaction_type=like", "invalid_json"),
    "NaN": Bad(f'{{"target_id": NaN, {R}}}', "invalid_json"),
    "hexadecimal": Bad(f'{{"target_id": 0x1, {R}}}', "invalid_json"),
    "leading zero": Bad(f'{{"target_id": 01, {R}}}', "invalid_json"),
    "raw newline": Bad(f'{{"target_id": "a\nb", {R}}}', "invalid_json"),
    "half a surrogate": Bad(f'{{"target_id": "\\ud800", {R}}}', "invalid_json"),
    "byte order mark": Bad(b"\xef\xbb\xbf{}", "invalid_json"),
    "UTF-16": Bad(f"{{{T}, {R}}}".encode("utf-16"), "invalid_json"),
    "UTF-32": Bad(f"{{{T}, {R}}}".encode("utf-32-le"), "invalid_json"),
    "invalid UTF-8": Bad(b'{"target_id": "\xff", "reaction_type": "like"}', "invalid_json"),
    "overlong UTF-8": Bad(b'{"target_id": "\xc0\xaf", "reaction_type": "like"}', "invalid_json"),
    "surrogate in UTF-8": Bad(b'{"target_id": "\xed\xa0\x80", "reaction_type": "like"}', "invalid_json"),
    "invalid UTF-8 in a key": Bad(b'{"\xff": 1}', "invalid_json"),
    "16 KiB + 1": Bad(f"{{{T}, {R}}}".ljust(16 * 1024 + 1), "body_too_large"),
    "a megabyte": Bad(b"x" * (1 << 20), "body_too_large"),
}


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("name", BAD)
async def test_a_bad_body_is_refused(api: Api, user: str, name: str, method: str) -> None:
    body, code, blamed = BAD[name]
    headers = api.bearer(user) | {"Content-Type": "application/json"}
    status = {"invalid_json": 400, "body_too_large": 413}.get(code, 422)
    with nothing_stored(api):
        refused = await api.call(method, REACTIONS, headers=headers, content=body, status=status)
        assert_problem(refused, code, blamed)


async def test_post_takes_no_null(api: Api, user: str) -> None:
    body = {"target_id": "t", "reaction_type": None}
    with nothing_stored(api):
        refused = await api.call("POST", REACTIONS, headers=api.bearer(user), json=body, status=422)
        assert_problem(refused, "invalid_field", "reaction_type")


async def test_sixteen_kib_are_not_too_large(api: Api, user: str, target: str) -> None:
    body = f'{{"target_id": "{target}", {R}}}'.ljust(16 * 1024)
    headers = api.bearer(user) | {"Content-Type": "application/json"}
    await api.call("POST", REACTIONS, headers=headers, content=body)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/problem+json",
        "text/json",
        "json",
        "text/plain; x=application/json",
        "application/json, text/plain",
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_another_media_type_is_refused(
    api: Api, user: str, target: str, method: str, content_type: str | None
) -> None:
    headers = api.bearer(user) | ({} if content_type is None else {"Content-Type": content_type})
    content = f'{{"target_id": "{target}", {R}}}'
    with nothing_stored(api):
        refused = await api.call(method, REACTIONS, headers=headers, content=content, status=415)
        assert_problem(refused, "unsupported_media_type", "Content-Type")


@pytest.mark.parametrize("key", ["", "a b", " a", "x" * 129, "\x7f", "ü", "a\tb"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_bad_key_is_refused(api: Api, user: str, target: str, method: str, key: str) -> None:
    headers: Any = [(k.encode(), v.encode()) for k, v in api.bearer(user).items()]
    headers.append((b"Idempotency-Key", key.encode()))
    body = None if method == "DELETE" else {"target_id": target, "reaction_type": "like"}
    params = {"target_id": target} if method == "DELETE" else None
    with nothing_stored(api):
        refused = await api.call(method, REACTIONS, headers=headers, json=body, params=params, status=422)
        assert_problem(refused, "invalid_idempotency_key", "Idempotency-Key")


DELETES = {
    "": ("missing_parameter", "target_id"),
    "target_id=": ("invalid_target_id", "target_id"),
    "target_id": ("invalid_target_id", "target_id"),
    "target_id=a+b": ("invalid_target_id", "target_id"),
    "target_id=a%20b": ("invalid_target_id", "target_id"),
    "target_id=a,b": ("invalid_target_id", "target_id"),
    "target_id=a%00": ("invalid_target_id", "target_id"),
    "target_id=%F0%9F%91%8D": ("invalid_target_id", "target_id"),
    "target_id=stream": ("invalid_target_id", "target_id"),
    "target_id=" + "x" * 129: ("invalid_target_id", "target_id"),
    "target_id=a&target_id=a": ("invalid_parameter", "target_id"),
    "target_id=a&target%5Fid=b": ("invalid_parameter", "target_id"),
    "target_id=%FF": ("invalid_parameter", None),
    "target_id=a&reaction_type=like": ("unknown_parameter", "reaction_type"),
    "target_id=a&Target_id=b": ("unknown_parameter", "Target_id"),
    "target_ids=a": ("unknown_parameter", "target_ids"),
    "target_id=a&=": ("unknown_parameter", ""),
    "target_id=a&" + "&".join(["_=1"] * 40): ("invalid_parameter", None),
}


@pytest.mark.parametrize("query", DELETES)
async def test_a_bad_query_is_refused(api: Api, user: str, query: str) -> None:
    code, blamed = DELETES[query]
    with nothing_stored(api):
        refused = await api.call("DELETE", f"{REACTIONS}?{query}", headers=api.bearer(user), status=422)
        assert_problem(refused, code, blamed)


@pytest.mark.parametrize("query", ["target_id=t", "x=", "a&_=1"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_tap_with_a_body_has_no_query(api: Api, user: str, method: str, query: str) -> None:
    body = {"target_id": fresh("t"), "reaction_type": "like"}
    with nothing_stored(api):
        url = f"{REACTIONS}?{query}"
        refused = await api.call(method, url, headers=api.bearer(user), json=body, status=422)
        assert_problem(refused, "unknown_parameter", query.partition("&")[0].partition("=")[0])
    await api.call(method, f"{REACTIONS}?_=1", headers=api.bearer(user), json=body)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "OPTIONS", "TRACE", "BREW", "post"])
async def test_other_methods_are_told_which_ones_there_are(api: Api, method: str) -> None:
    response = await api.client.request(method, REACTIONS)
    if method == "post":
        assert_problem(response, "token_missing")
        return
    assert (response.status_code, response.headers["allow"]) == (405, "POST, PUT, DELETE")
