"""Anything at all may be sent: the answer is 2xx, or a problem with a known code, and never a 5xx.

One service stands behind all examples, so Hypothesis gets its own event loop to run them in.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plaudit.http.problems import CODES
from tests.support.api import COUNTS, FEED, ME, MINE, REACTIONS, SIX, Api, open_api
from tests.support.audit import audit_file

bounded = settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

texts = st.text(max_size=20) | st.sampled_from(["", "t", "a,b", "..", "feed", "like", "\0", "1e2"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from(SIX),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(["target_id", "reaction_type", "target_type", "target_ids", "x", "Target_id"])
members = st.lists(st.tuples(fields, json_values), max_size=5)
near_misses = st.fixed_dictionaries(
    {
        "target_id": st.integers() | st.sampled_from(["t", "u", "counts", "a b"]),
        "reaction_type": st.sampled_from([*SIX, None, "dislike", ""]),
    },
    optional={"target_type": st.sampled_from(["post", "comment", "message", "x", None])},
)


def written(pairs: list[tuple[str, Any]]) -> bytes:
    """An object that may have a key twice."""
    return ("{" + ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in pairs) + "}").encode(
        errors="replace"
    )


def damaged(body: bytes, cut: int, junk: bytes) -> bytes:
    return body[:cut] + junk + body[cut + len(junk) :]


good_bodies = near_misses.map(lambda body: json.dumps(body).encode())
tap_bodies = (
    st.binary(max_size=60)
    | members.map(written)
    | json_values.map(lambda value: json.dumps(value).encode(errors="replace"))
    | good_bodies
    | st.builds(damaged, good_bodies, st.integers(0, 60), st.binary(min_size=1, max_size=3))
)
segments = st.text(min_size=1, max_size=20) | st.text("abc%/.?#;\\", min_size=1, max_size=8)
raw_queries = st.text("abt_=&%2C,+;#[]019éF", max_size=40) | st.lists(
    st.tuples(st.sampled_from(["target_ids", "target_id", "limit", "cursor", "type", "_"]), texts), max_size=4
).map(lambda pairs: "&".join(f"{name}={quote(value, safe=',')}" for name, value in pairs))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, asyncio.Runner]]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        folder = tmp_path_factory.mktemp("data")
        yield runner.run(stack.enter_async_context(open_api(folder))), runner
        runner.run(stack.aclose())
        audit_file(folder / "plaudit.db")


def assert_sound(response: httpx.Response) -> None:
    if response.status_code in (200, 202):
        assert isinstance(response.json(), dict)
        return
    assert 400 <= response.status_code < 500, (response.request.url, response.text)
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert CODES[document["code"]].status == response.status_code
    for error in document.get("errors", []):
        assert error.keys() == {"field", "message"}


@bounded
@given(st.sampled_from(["POST", "PUT"]), tap_bodies)
def test_any_tap_body(fuzzed: tuple[Api, asyncio.Runner], method: str, body: bytes) -> None:
    api, runner = fuzzed
    headers = api.bearer("ann") | {"Content-Type": "application/json"}
    response = runner.run(api.client.request(method, REACTIONS, headers=headers, content=body))
    assert_sound(response)
    if response.status_code == 200:
        asked = json.loads(body)
        assert response.json()["target_id"] == str(asked["target_id"])
        assert response.json()["reaction"] in (asked["reaction_type"], None)


@bounded
@given(
    st.sampled_from([FEED, MINE, "/api/v1/targets/t", "/api/v1/users/u"]),
    st.binary(max_size=40)
    | members.map(written)
    | st.lists(json_values, max_size=4).map(lambda ids: json.dumps({"target_ids": ids}).encode())
    | st.dictionaries(
        st.sampled_from(
            ["title", "closed", "allowed", "owner_id", "name", "avatar_url", "locale", "time_zone"]
        ),
        json_values,
        max_size=2,
    ).map(lambda value: json.dumps(value).encode()),
)
def test_any_other_body(fuzzed: tuple[Api, asyncio.Runner], path: str, body: bytes) -> None:
    api, runner = fuzzed
    method = "POST" if path in (FEED, MINE) else "PUT"
    headers = api.host | {"Content-Type": "application/json", "Plaudit-User": "ann"}
    assert_sound(runner.run(api.client.request(method, path, headers=headers, content=body)))


@bounded
@given(
    st.sampled_from(
        [
            *[
                ("GET", path)
                for path in (COUNTS, FEED, MINE, ME, f"{REACTIONS}/t", f"{REACTIONS}/t/reactors")
            ],
            ("DELETE", REACTIONS),
            ("HEAD", COUNTS),
        ]
    ),
    raw_queries,
)
def test_any_query(fuzzed: tuple[Api, asyncio.Runner], call: tuple[str, str], query: str) -> None:
    api, runner = fuzzed
    method, path = call
    response = runner.run(api.client.request(method, f"{path}?{query}", headers=api.bearer("ann")))
    if method == "HEAD":
        assert response.status_code in (200, 422)
        return
    assert_sound(response)


@bounded
@given(
    st.sampled_from(
        [
            ("GET", f"{REACTIONS}/{{}}"),
            ("GET", f"{REACTIONS}/{{}}/reactors"),
            ("GET", "/api/v1/jobs/{}"),
            ("DELETE", "/api/v1/targets/{}"),
            ("PUT", "/api/v1/targets/{}"),
            ("PUT", "/api/v1/users/{}"),
        ]
    ),
    segments,
    st.booleans(),
)
def test_any_segment(
    fuzzed: tuple[Api, asyncio.Runner], call: tuple[str, str], segment: str, escaped: bool
) -> None:
    api, runner = fuzzed
    method, path = call
    url = path.format(quote(segment, safe="") if escaped else quote(segment, safe="/%.;?#\\"))
    body: Any = {} if method == "PUT" else None
    assert_sound(runner.run(api.client.request(method, url, headers=api.host, json=body)))


@bounded
@given(
    st.dictionaries(
        st.sampled_from(
            ["Authorization", "Idempotency-Key", "Plaudit-User", "Content-Type", "If-None-Match", "Host"]
        ),
        st.binary(max_size=30)
        | st.sampled_from([b"Bearer a.b.c", b"application/json", b"*", b"ann", b"Bearer \xff"]),
    ),
    st.sampled_from(["POST", "GET", "DELETE"]),
    st.booleans(),
)
def test_any_headers(
    fuzzed: tuple[Api, asyncio.Runner], headers: dict[str, bytes], method: str, host_app: bool
) -> None:
    api, runner = fuzzed
    sent = [(name.encode(), value) for name, value in headers.items()]
    if host_app and "Authorization" not in headers:
        sent.append((b"Authorization", api.host["Authorization"].encode()))
    body = b'{"target_id": "t", "reaction_type": "like"}' if method == "POST" else None
    for path in (REACTIONS, FEED, COUNTS, ME, "/api/v1/targets/t", "/nowhere"):
        url = f"{path}?target_ids=t" if path in (FEED, COUNTS) and method == "GET" else path
        response = runner.run(api.client.request(method, url, headers=sent, content=body))
        if response.status_code != 304:
            assert_sound(response)
