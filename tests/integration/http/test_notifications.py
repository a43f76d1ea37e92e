"""The calls of /api/v1/me about notifications, over a service whose windows last two seconds."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import apsw
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.api import Api, Json, assert_problem, fresh, open_api

INBOX = "/api/v1/me/notifications"
READ = f"{INBOX}/read"
SETTINGS = "/api/v1/me/notification-settings"
DEVICES = "/api/v1/me/devices"


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Api]:
    async with open_api(tmp_path_factory.mktemp("data"), notification_windows_s=[2]) as opened:
        yield opened


@pytest.fixture
async def owner(api: Api, target: str) -> str:
    """The owner of `target`."""
    name = fresh("owner-")
    await api.register(target, owner_id=name, title="My holiday")
    return name


async def inbox(api: Api, user: str, messages: int, query: str = "") -> Json:
    """The user's inbox once it holds that many."""
    async with asyncio.timeout(60):
        while True:
            page = await api.get(INBOX + query, user=user)
            if len(page["notifications"]) >= messages:
                return page
            await asyncio.sleep(0.02)


async def write(api: Api, method: str, path: str, user: str, body: Any = None, status: int = 200) -> Any:
    """The decoded answer to a write."""
    more = {} if body is None else {"json": body}
    return (await api.call(method, path, headers=api.bearer(user), status=status, **more)).json()


def webpush(host: str = "push.example") -> Json:
    """A subscription as a browser gives it."""
    point = ec.generate_private_key(ec.SECP256R1()).public_key()
    raw = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    keys = {"p256dh": base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), "auth": "AAAAAAAAAAAAAAAAAAAAAA"}
    return {"kind": "webpush", "token": f"https://{host}/{fresh('s')}", "keys": keys}


async def test_the_owner_is_told_in_a_batch_and_marks_it_read(api: Api, owner: str, target: str) -> None:
    while True:
        al, bo = "al-" + owner, "bo-" + owner
        await api.describe(al, name="Alice", avatar_url="/a.png")
        taps = {bo: "love", al: "like", owner: "wow"}  # at once, so in one window and in any order
        began_s = time.monotonic()
        await asyncio.gather(*(api.tap(user, target, reaction) for user, reaction in taps.items()))
        if time.monotonic() - began_s < 1:
            break
        owner, target = fresh("owner-"), fresh("post:")  # the machine stalled: they may be in two windows
        await api.register(target, owner_id=owner, title="My holiday")
    page = await inbox(api, owner, 1)
    [message] = page["notifications"]
    assert (page["unread"], page["next_cursor"], message["read"]) == (1, None, False)
    assert (message["target_id"], message["target_type"], message["title"]) == (target, "post", "My holiday")
    assert (message["total"], message["reactions"]) == (2, {"like": 1, "love": 1})
    first, second = [who["name"] or who["id"] for who in message["sample"]]
    assert {first, second} == {"Alice", bo}
    assert message["text"] == f"{first} and {second} reacted to your post “My holiday”"
    assert {"id": al, "name": "Alice", "avatar_url": "/a.png"} in message["sample"]
    assert await write(api, "POST", READ, owner, {"ids": [message["id"]]}) == {"unread": 0}
    [again] = (await api.get(INBOX, user=owner))["notifications"]
    assert again == {**message, "read": True}
    assert (await api.get(INBOX, user=al))["notifications"] == []


async def test_it_is_told_in_the_owners_language(api: Api, owner: str, target: str) -> None:
    await api.describe(owner, locale="de-CH")
    await api.tap("al-" + owner, target)
    [message] = (await inbox(api, owner, 1))["notifications"]
    assert message["text"] == f"al-{owner} hat deinen Beitrag „My holiday“ mit „Gefällt mir“ markiert"


async def test_pages_and_marks_up_to_what_was_seen(api: Api) -> None:
    owner = fresh("owner-")
    for _ in range(3):
        target = fresh("post:")
        await api.register(target, owner_id=owner)
        await api.tap("ann", target)
    whole = await inbox(api, owner, 3)
    names = [message["id"] for message in whole["notifications"]]
    assert whole["unread"] == 3
    first = await api.get(f"{INBOX}?limit=2", user=owner)
    second = await api.get(f"{INBOX}?limit=2&cursor={first['next_cursor']}", user=owner)
    assert [m["id"] for m in first["notifications"] + second["notifications"]] == names
    assert second["next_cursor"] is None
    stolen = f"{INBOX}?cursor={first['next_cursor']}"
    other = await api.client.get(stolen, headers=api.bearer("somebody-else"))
    assert_problem(other, "invalid_cursor", "cursor")
    assert await write(api, "POST", READ, owner, {"up_to": names[1]}) == {"unread": 1}
    assert await write(api, "POST", READ, "somebody-else", {"up_to": names[0]}) == {"unread": 0}
    assert (await api.get(INBOX, user=owner))["unread"] == 1


async def test_an_unchanged_inbox_is_a_304(api: Api, owner: str, target: str) -> None:
    first = await api.call("GET", INBOX, headers=api.bearer(owner))
    tagged = {**api.bearer(owner), "If-None-Match": first.headers["etag"]}
    again = await api.call("GET", INBOX, headers=tagged, status=304)
    assert (again.content, again.headers["etag"]) == (b"", first.headers["etag"])
    await api.tap("al-" + owner, target)
    await inbox(api, owner, 1)
    await api.call("GET", INBOX, headers=tagged)


async def test_settings_are_stored_whole(api: Api, user: str) -> None:
    default: Json = {"enabled": True, "quiet_hours": None, "muted_targets": []}
    assert await api.get(SETTINGS, user=user) == default
    wished = {
        "enabled": False,
        "quiet_hours": {"start": "22:00", "end": "07:30"},
        "muted_targets": ["a", 7, "a"],
    }
    stored = {**wished, "muted_targets": ["a", "7"]}
    assert await write(api, "PUT", SETTINGS, user, wished) == stored
    assert await api.get(SETTINGS, user=user) == stored
    assert await write(api, "PUT", SETTINGS, user, {}) == default


async def test_a_muted_target_is_not_told(api: Api, owner: str, target: str) -> None:
    loud = fresh("post:")
    await api.register(loud, owner_id=owner)
    await write(api, "PUT", SETTINGS, owner, {"muted_targets": [target]})
    await api.tap("ann", target)
    await api.tap("ann", loud)
    page = await inbox(api, owner, 1)
    assert [message["target_id"] for message in page["notifications"]] == [loud]


async def test_devices_come_and_go(api: Api, user: str) -> None:
    described = [
        {"kind": "fcm", "token": f"abc:APA91b-{user}"},
        {"kind": "apns", "token": "ab" * 32, "environment": "sandbox"},
        webpush(),
    ]
    for device in described:
        first = await write(api, "POST", DEVICES, user, device)
        again = await write(api, "POST", DEVICES, user, device)
        assert (first["device_id"], first["kind"]) == (again["device_id"], device["kind"])
        gone = f"{DEVICES}?device_id={first['device_id']}"
        assert await write(api, "DELETE", gone, "somebody-else") == {"removed": False}
        assert await write(api, "DELETE", gone, user) == {"removed": True}
        assert await write(api, "DELETE", gone, user) == {"removed": False}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "fcm", "token": "a b"}, "token"),
        ({"kind": "fcm", "token": "a" * 4097}, "token"),
        ({"kind": "fcm", "token": "a/../b\r\nx: y"}, "token"),
        ({"kind": "fcm", "token": "abcdefgh", "keys": {"p256dh": "", "auth": ""}}, "keys"),
        ({"kind": "fcm", "token": "abcdefgh", "environment": "sandbox"}, "environment"),
        ({"kind": "apns", "token": "../../3/device/aa"}, "token"),
        ({"kind": "apns", "token": "abc"}, "token"),
        ({"kind": "apns", "token": "ab" * 32, "environment": "test"}, "environment"),
        ({"kind": "webpush", "token": "https://push.example/x"}, "keys"),
        ({**webpush(), "token": "http://push.example/x"}, "token"),
        ({**webpush(), "token": "https://a:b@push.example/x"}, "token"),
        ({**webpush(), "token": "https://push.example:99999/x"}, "token"),
        ({**webpush(), "token": "https:///x"}, "token"),
        ({**webpush(), "token": "https://push.example/\u00e9"}, "token"),
        ({**webpush(), "token": "file:///etc/passwd"}, "token"),
        ({**webpush(), "keys": {"p256dh": "AAAA", "auth": "AAAAAAAAAAAAAAAAAAAAAA"}}, "keys"),
        ({**webpush(), "keys": {**webpush()["keys"], "auth": "!"}}, "keys"),
        ({"kind": "pager", "token": "x"}, "kind"),
    ],
)
async def test_what_no_provider_gives_out_is_refused(api: Api, user: str, body: Json, field: str) -> None:
    response = await api.client.post(DEVICES, json=body, headers=api.bearer(user))
    assert_problem(response, "invalid_field", field)


@pytest.mark.parametrize(
    ("path", "body", "code", "field"),
    [
        (READ, {}, "missing_field", "up_to"),
        (READ, {"ids": ["a b"]}, "invalid_field", "ids"),
        (READ, {"ids": ["a"] * 101}, "invalid_field", "ids"),
        (READ, {"up_to": ""}, "invalid_field", "up_to"),
        (READ, {"more": 1}, "unknown_field", "more"),
        (SETTINGS, {"quiet_hours": {"start": "25:00", "end": "07:00"}}, "invalid_field", "quiet_hours"),
        (SETTINGS, {"quiet_hours": {"start": "07:00", "end": "07:00"}}, "invalid_field", "quiet_hours"),
        (SETTINGS, {"quiet_hours": {"start": "07:00"}}, "missing_field", "end"),
        (SETTINGS, {"muted_targets": ["a b"]}, "invalid_target_id", "muted_targets"),
        (SETTINGS, {"muted_targets": [f"t{n}" for n in range(101)]}, "invalid_field", "muted_targets"),
    ],
)
async def test_other_refusals(api: Api, user: str, path: str, body: Json, code: str, field: str) -> None:
    method = "POST" if path == READ else "PUT"
    response = await api.client.request(method, path, json=body, headers=api.bearer(user))
    assert_problem(response, code, field)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", INBOX),
        ("POST", READ),
        ("GET", SETTINGS),
        ("PUT", SETTINGS),
        ("POST", DEVICES),
        ("DELETE", DEVICES),
    ],
)
async def test_everything_needs_a_user(api: Api, method: str, path: str) -> None:
    assert_problem(await api.client.request(method, path), "token_missing")
    assert_problem(
        await api.client.request(method, path, headers=api.host), "missing_parameter", "Plaudit-User"
    )
    too_big = {**api.bearer("ann"), "content-type": "application/json"}
    if method in {"POST", "PUT"}:
        response = await api.client.request(method, path, headers=too_big, content=b" " * 20_000)
        assert_problem(response, "body_too_large")


async def test_writes_count_against_the_rate(tmp_path_factory: pytest.TempPathFactory) -> None:
    limits = {"rate_limit_per_s": 0.001, "rate_limit_burst": 2}
    async with open_api(tmp_path_factory.mktemp("limited"), **limits) as limited:
        for _ in range(2):
            await write(limited, "PUT", SETTINGS, "ann", {})
        response = await limited.client.put(SETTINGS, json={}, headers=limited.bearer("ann"))
        assert_problem(response, "rate_limited")
        await limited.get(INBOX, user="ann")


async def test_an_erased_user_has_nothing_left(api: Api, owner: str, target: str) -> None:
    await api.tap("ann", target)
    await inbox(api, owner, 1)
    await write(api, "POST", DEVICES, owner, webpush())
    await write(api, "PUT", SETTINGS, owner, {"enabled": False})
    await api.remove(f"/api/v1/users/{owner}")
    connection = apsw.Connection(str(api.settings.data / "plaudit.db"), flags=apsw.SQLITE_OPEN_READONLY)
    for table in ("notification", "device", "wish"):
        assert connection.execute(f"SELECT count(*) FROM {table} WHERE owner = ?", (owner,)).get == 0
    connection.close()
    assert_problem(await api.client.put(SETTINGS, json={}, headers=api.bearer(owner)), "user_erased")
    assert_problem(await api.client.post(DEVICES, json=webpush(), headers=api.bearer(owner)), "user_erased")
