"""One story told to both profiles: every answer to a write is the same at once, every read within five seconds.

Times, job ids and cursors are each profile's own; everything else, versions and error codes included, has to be equal.
"""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.engines.cassandra import Cassandra
from tests.engines.kafka import Kafka
from tests.engines.redis import Redis
from tests.support.cluster import SECRET, processes, settings_of
from tests.support.server import ServerProcess

pytestmark = pytest.mark.timeout(300)

# After the question was asked for the first time; counted in looks, of which there is none while the machine stalls.
CONVERGE_WITHIN_S = 5.0
DONE_WITHIN_S = 60.0  # what runs in the background of the embedded profile, before anything is compared
POLL_S = 0.1
OWN_OF_EACH = {
    "reacted_at", "created_at", "finished_at", "at", "updated_at", "job_id", "next_cursor", "id", "registered_at",
}  # fmt: skip
USERS = [f"u{n}" for n in range(12)]
SETTINGS = {"auth_secret": SECRET, "rate_limit_per_s": 0, "notification_windows_s": [5]}


class Call(NamedTuple):
    """One request. `read`: the answer may come to be what it has to be."""

    method: str
    path: str
    user: str | None = None
    body: Any = None
    key: str | None = None
    service: bool = False
    grants: tuple[str, ...] = ()
    read: bool = False
    told: int | None = None  # how many messages there are once what runs in the background is done


def tap(user: str, target: str, reaction: str | None, method: str = "POST", **more: Any) -> Call:
    body = {"target_id": target, "reaction_type": reaction}
    if "target_type" in more:
        body["target_type"] = more.pop("target_type")
    return Call(method, "/api/v1/reactions", user, body, **more)


def host(method: str, path: str, body: Any = None) -> Call:
    return Call(method, path, None, body, service=True)


def get(path: str, user: str | None = None, **more: Any) -> Call:
    return Call("GET", path, user, read=True, **more)


def story() -> Iterator[Call]:
    """What happens, in order."""
    yield host("PUT", "/api/v1/targets/p1", {"owner_id": "owner", "target_type": "post", "title": "Sunrise"})
    yield host("PUT", "/api/v1/targets/shut", {"target_type": "post", "closed": True})
    yield host("PUT", "/api/v1/targets/two", {"target_type": "post", "allowed": ["like", "love"]})
    yield host("PUT", "/api/v1/targets/m1", {"target_type": "message"})
    yield host(
        "PUT", "/api/v1/targets/m3", {"target_type": "message", "owner_id": "owner", "allowed": ["wow"]}
    )
    yield host("PUT", "/api/v1/targets/m3", {"closed": True})
    yield host("GET", "/api/v1/targets/m3")
    yield host("GET", "/api/v1/targets/nobody-registered")
    yield host("PUT", "/api/v1/users/u0", {"name": "Ann Ash", "avatar_url": "https://example.com/a.png"})
    yield host("PUT", "/api/v1/users/u1", {"name": "Bob Birch", "locale": "de"})
    yield from taps()
    yield from refusals()
    yield from reads()
    yield from notifications()
    yield from removals()


def taps() -> Iterator[Call]:
    for n, user in enumerate(USERS):
        yield tap(user, "p1", ["like", "love", "haha"][n % 3])
    yield tap("u0", "p1", "like")  # the same again removes
    yield tap("u1", "p1", "like")  # another switches
    yield tap("u2", "p1", "haha", "PUT")  # nothing to do
    yield tap("u2", "p1", None, "PUT")
    yield tap("u3", "p1", "wow", key="k1")
    yield tap("u3", "p1", "wow", key="k1")  # a repeated key
    yield Call("DELETE", "/api/v1/reactions?target_id=p1", "u4")
    yield Call("DELETE", "/api/v1/reactions?target_id=p1", "u4")
    for n in range(25):
        yield tap("fan", f"fed{n}", "love", target_type="comment" if n % 2 else "post")
    yield tap("u5", "two", "love")
    yield tap("u5", "m1", "sad", grants=("m*",))


def refusals() -> Iterator[Call]:
    yield tap("u3", "p1", "like", key="k1")
    yield tap("u6", "p1", "like", target_type="comment")
    yield tap("u6", "two", "angry")
    yield tap("u6", "shut", "like")
    yield tap("u6", "m1", "like")
    yield tap("u6", "m2", "like", target_type="message", grants=("m2",))
    yield tap("u6", "p1", "shrug")
    yield tap("u6", "p 1", "like")
    yield Call("GET", "/api/v1/reactions/counts?target_ids=m1")


def reads() -> Iterator[Call]:
    yield get("/api/v1/reactions/counts?target_ids=p1,two,shut,nobody")
    yield get("/api/v1/reactions/counts?target_ids=m1", "u5", grants=("m1",))
    yield get("/api/v1/reactions/feed?target_ids=p1,two,shut,nobody,fed1")
    yield get("/api/v1/reactions/feed?target_ids=p1,two,shut,nobody,fed1", "u3")
    yield Call("POST", "/api/v1/reactions/feed", "u5", {"target_ids": ["p1", "two"]}, read=True)
    yield get("/api/v1/reactions/mine?target_ids=p1,two,fed1", "u0")
    yield get("/api/v1/reactions/p1", "u1")
    yield get("/api/v1/reactions/p1/reactors?limit=100")
    yield get("/api/v1/reactions/p1/reactors?limit=100&type=love")
    yield get("/api/v1/me/reactions?limit=100", "fan")
    yield get("/api/v1/me/reactions", "u0")


def notifications() -> Iterator[Call]:
    yield get("/api/v1/me/notifications", "owner", told=1)
    yield Call("PUT", "/api/v1/me/notification-settings", "owner", {"muted_targets": ["p1"]})
    yield get("/api/v1/me/notification-settings", "owner")


def removals() -> Iterator[Call]:
    yield host("DELETE", "/api/v1/targets/two")
    yield tap("u6", "two", "like")
    yield get("/api/v1/reactions/counts?target_ids=two")
    yield get("/api/v1/reactions/two/reactors")
    yield get("/api/v1/me/reactions", "u5")
    yield Call("PUT", "/api/v1/targets/two", None, {"target_type": "post"}, service=True, read=True)
    yield tap("u6", "two", "angry")
    yield host("DELETE", "/api/v1/users/u7")
    # Another process hears of it within seconds; what u7 says meanwhile changes nothing.
    yield tap("u7", "p1", "love", "PUT", read=True)
    # In the cluster the rows go a minute later, when every process must have heard (tests/contract/test_removals.py).
    yield host("DELETE", "/api/v1/targets/p1")
    yield get("/api/v1/me/notifications", "owner", told=0)


def told(value: Any, name: str = "") -> Any:
    """An answer without what is each profile's own."""
    if isinstance(value, dict):
        return {key: told(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [told(item, name) for item in value]
    if name in OWN_OF_EACH and isinstance(value, str) and re.match(r"job_|\d{4}-\d\d-|[\w-]{20,}", value):
        return f"<{name}>"
    return value


def asking(server: ServerProcess, client: httpx.Client) -> Callable[[Call], tuple[int, Any]]:
    """Makes a call, and tells status and answer."""

    def ask(call: Call) -> tuple[int, Any]:
        headers = {}
        if call.user or call.service:
            token = server.token(call.user, service=call.service, grants=call.grants)
            headers["Authorization"] = f"Bearer {token}"
        if call.key:
            headers["Idempotency-Key"] = call.key
        answer = client.request(call.method, server.url + call.path, headers=headers, json=call.body)
        return answer.status_code, told(answer.json())

    return ask


def test_both_profiles_tell_the_same_story(
    cassandra: Cassandra, kafka: Kafka, redis: Redis, tmp_path: Path
) -> None:
    settings = settings_of(cassandra, kafka, redis) | SETTINGS
    one = {f"PLAUDIT_{name.upper()}": str(value) for name, value in SETTINGS.items()}
    with (
        httpx.Client(timeout=30) as client,
        ServerProcess(tmp_path / "embedded", env=one) as embedded,
        processes(tmp_path, settings, apis=2) as (apis, _),
    ):
        here, there = asking(embedded, client), [asking(api, client) for api in apis]
        for number, call in enumerate(story()):
            ask = there[number % len(there)]
            expected = settled(here, call)
            looks = round(CONVERGE_WITHIN_S / POLL_S) if call.read else 0
            while (answer := ask(call)) != expected:
                assert looks > 0, f"{call}\nembedded {expected}\ncluster  {answer}"
                looks -= 1
                time.sleep(POLL_S)


def settled(ask: Callable[[Call], tuple[int, Any]], call: Call) -> tuple[int, Any]:
    """The embedded profile's answer, once what runs in the background there is done."""
    deadline = time.monotonic() + DONE_WITHIN_S
    answer = ask(call)
    while call.told is not None and len(answer[1]["notifications"]) != call.told:
        assert time.monotonic() < deadline, f"not {call.told} messages"
        time.sleep(POLL_S)
        answer = ask(call)
    while answer[1].get("code") == "deletion_in_progress":
        assert time.monotonic() < deadline, "the deletion goes on and on"
        time.sleep(POLL_S)
        answer = ask(call)
    return answer
