"""What the server answers is what the document says: its examples, word for word, and every problem."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx
import pytest

from plaudit.bootstrap.embedded import embedded
from plaudit.bootstrap.front import Service
from plaudit.domain.catalogue import Catalogue
from plaudit.http.examples import CROWD, POST, Story
from plaudit.http.openapi import document
from plaudit.settings import Settings
from tests.integration.openapi.conftest import Token
from tests.support.described import Described

Json = dict[str, Any]

VOLATILE = {"job_id", "created_at", "finished_at", "reacted_at", "next_cursor", "at", "registered_at"}
MESSAGE_ID_LENGTH = 32
TAP = "/api/v1/reactions"
TOGGLE = {"target_id": "t", "reaction_type": "like"}


def settled(value: object) -> object:
    """The value without what differs each time."""
    if isinstance(value, dict):
        return {
            name: "…"
            if inner is not None and (name in VOLATILE or _is_message(name, inner))
            else settled(inner)
            for name, inner in value.items()
        }
    return [settled(item) for item in value] if isinstance(value, list) else value


def _is_message(name: str, inner: object) -> bool:
    return name == "id" and isinstance(inner, str) and len(inner) == MESSAGE_ID_LENGTH


class Teller:
    """Plays the story of the examples, holding each answer against the document."""

    def __init__(self, http: httpx.AsyncClient, token: Token) -> None:
        self.http = http
        self.token = token
        self.described = Described(document(Catalogue()))
        self.told: set[str] = set()

    async def tell(self, id_: str, user: str | None = "alice", query: Json | None = None) -> Json:
        """Send the example of one call as it is described, and compare."""
        path, method, operation = next(
            (path, method, operation)
            for path, operations in self.described.document["paths"].items()
            for method, operation in operations.items()
            if operation["operationId"] == id_
        )
        parameters = [self.described.component(node) for node in operation["parameters"]]
        sent = dict(query or {})
        for parameter in parameters:
            example = parameter.get("example")
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", example)
            elif parameter["in"] == "query" and parameter.get("required"):
                sent[parameter["name"]] = ",".join(example) if isinstance(example, list) else example
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
        response = await self.http.request(
            method.upper(), path, params=sent, json=body, headers=self.token(user, service=user is None)
        )
        self.described.check(response)
        (answer,) = (
            content["application/json"]["example"]
            for response_ in operation["responses"].values()
            if "application/json" in (content := response_.get("content", {}))
        )
        assert settled(response.json()) == settled(answer)
        self.told.add(id_)
        found: Json = response.json()
        return found


async def test_the_examples_are_what_is_answered(http: httpx.AsyncClient, token: Token) -> None:
    teller, host = Teller(http, token), token(None, service=True)
    await teller.tell("register_target", None)
    await teller.tell("registration", None)
    await teller.tell("describe_user", None)
    await http.put("/api/v1/users/bob", json={"name": "Bob"}, headers=host)
    for number in range(1, CROWD + 1):
        body = {"target_id": POST, "reaction_type": Story(Catalogue()).first}
        await http.put(TAP, json=body, headers={**host, "plaudit-user": f"user-{number}"})
    await teller.tell("toggle")
    await teller.tell("set", "bob")
    for id_ in ("catalogue", "counts", "feed", "feed_by_body", "mine", "mine_by_body", "one", "reacted"):
        await teller.tell(id_)
    await teller.tell("reactors", query={"limit": "2"})
    await teller.tell("remove", "bob")
    title = "Rain over the harbour"
    await http.put("/api/v1/targets/post-43", json={"owner_id": "erin", "title": title}, headers=host)
    body = {"target_id": "post-43", "reaction_type": Story(Catalogue()).first}
    await http.put(TAP, json=body, headers=token("alice"))
    while not (await http.get("/api/v1/me/notifications", headers=token("erin"))).json()["unread"]:
        await asyncio.sleep(0.05)
    for id_ in ("notifications", "read_notifications", "set_notification_settings", "notification_settings"):
        await teller.tell(id_, "erin")
    for id_ in ("add_device", "remove_device"):
        await teller.tell(id_, "erin")
    job = await teller.tell("erase_user", None)
    await receipt(http, job["job_id"], host)
    await teller.tell("delete_target", None)
    with_examples = {call for call in Story(Catalogue()).examples() if call != "job"}
    assert teller.told == with_examples


async def test_the_receipt_is_the_one_described(http: httpx.AsyncClient, token: Token) -> None:
    host = token(None, service=True)
    await http.post(TAP, json=TOGGLE, headers=token("alice"))
    job = (await http.delete("/api/v1/users/alice", headers=host)).json()
    response = await receipt(http, job["job_id"], host)
    Described(document(Catalogue())).check(response)
    assert settled(response.json()) == settled(Story(Catalogue()).examples()["job"].answer)


async def receipt(http: httpx.AsyncClient, job_id: str, host: dict[str, str]) -> httpx.Response:
    """The answer about a job once it is done."""
    while True:
        response = await http.get(f"/api/v1/jobs/{job_id}", headers=host)
        if response.json()["state"] == "done":
            return response


class Wrong(NamedTuple):
    """A request that is answered with a problem."""

    code: str
    method: str
    url: str
    who: str | None = "alice"
    json: Any = None
    headers: Mapping[str, str] = MappingProxyType({})
    content: bytes | None = None


MANY = ",".join(f"t{n}" for n in range(101))
JSON = {"content-type": "application/json"}
REFUSED = [
    Wrong("token_missing", "POST", TAP, None, TOGGLE),
    Wrong("token_invalid", "POST", TAP, None, TOGGLE, {"authorization": "Bearer a.b.c"}),
    Wrong("scope_missing", "PUT", "/api/v1/targets/t", json={}),
    Wrong("scope_missing", "DELETE", f"{TAP}?target_id=t", headers={"plaudit-user": "bob"}),
    Wrong("invalid_user_id", "GET", f"{TAP}/feed?target_ids=t", "host", headers={"plaudit-user": "a b"}),
    Wrong("missing_parameter", "GET", "/api/v1/me/reactions", "host"),
    Wrong("missing_parameter", "GET", f"{TAP}/counts"),
    Wrong("invalid_idempotency_key", "POST", TAP, json=TOGGLE, headers={"idempotency-key": "a b"}),
    Wrong("unknown_parameter", "GET", f"{TAP}/t?more=1"),
    Wrong("invalid_parameter", "GET", f"{TAP}/t/reactors?limit=0"),
    Wrong("invalid_parameter", "POST", f"{TAP}?%FF=1", json=TOGGLE),
    Wrong("invalid_cursor", "GET", f"{TAP}/t/reactors?cursor=nonsense"),
    Wrong("unknown_reaction", "GET", f"{TAP}/t/reactors?type=nonsense"),
    Wrong("invalid_target_id", "GET", f"{TAP}/feed?target_ids=a%20b"),
    Wrong("too_many_targets", "GET", f"{TAP}/mine?target_ids={MANY}"),
    Wrong("repeated_target", "POST", f"{TAP}/feed", json={"target_ids": ["a", "a"]}),
    Wrong("invalid_json", "POST", TAP, content=b"{", headers=JSON),
    Wrong("body_too_large", "PUT", TAP, content=b" " * 20_000, headers=JSON),
    Wrong(
        "unsupported_media_type", "POST", f"{TAP}/mine", content=b"{}", headers={"content-type": "text/plain"}
    ),
    Wrong(
        "duplicate_field", "PUT", "/api/v1/users/u", "host", content=b'{"name":"a","name":"b"}', headers=JSON
    ),
    Wrong("duplicate_header", "PUT", TAP, json=TOGGLE, headers={"AUTHORIZATION": "Bearer of.an.other"}),
    Wrong("duplicate_header", "GET", "/api/v1/me/reactions", headers={"AUTHORIZATION": "Bearer of.an.other"}),
    Wrong("missing_field", "POST", f"{TAP}/feed", json={}),
    Wrong("unknown_field", "PUT", "/api/v1/targets/t", "host", json={"more": 1}),
    Wrong("invalid_field", "PUT", "/api/v1/users/u", "host", json={"time_zone": "Nowhere/Land"}),
    Wrong("unknown_reaction", "POST", TAP, json={**TOGGLE, "reaction_type": "nonsense"}),
    Wrong("unknown_target_type", "PUT", TAP, json={**TOGGLE, "target_type": "nonsense"}),
    Wrong(
        "target_type_mismatch", "PUT", TAP, json={**TOGGLE, "target_type": "comment", "target_id": "closed"}
    ),
    Wrong("target_closed", "POST", TAP, json={**TOGGLE, "target_id": "closed"}),
    Wrong("reaction_not_allowed", "PUT", TAP, json={"target_id": "few", "reaction_type": "angry"}),
    Wrong("target_deleted", "PUT", TAP, json={**TOGGLE, "target_id": "deleted"}),
    Wrong("target_not_granted", "GET", f"{TAP}/counts?target_ids=secret"),
    Wrong("target_not_granted", "POST", TAP, json={**TOGGLE, "target_id": "secret"}),
    Wrong("token_missing", "GET", f"{TAP}/secret", None),
    Wrong("user_erased", "POST", TAP, "erased", TOGGLE),
    Wrong("user_erased", "PUT", "/api/v1/users/erased", "host", {"name": "Again"}),
    Wrong("invalid_field", "POST", "/api/v1/me/devices", json={"kind": "fcm", "token": "a b"}),
    Wrong("missing_field", "POST", "/api/v1/me/notifications/read", json={}),
    Wrong("invalid_cursor", "GET", "/api/v1/me/notifications?cursor=nonsense"),
    Wrong("missing_parameter", "DELETE", "/api/v1/me/devices"),
    Wrong("invalid_target_id", "PUT", "/api/v1/me/notification-settings", json={"muted_targets": ["a b"]}),
    Wrong("user_erased", "PUT", "/api/v1/me/notification-settings", "erased", {}),
    Wrong("not_found", "GET", f"{TAP}/a%2Fb"),
    Wrong("job_not_found", "GET", "/api/v1/jobs/job_0", "host"),
]


@pytest.fixture
async def prepared(http: httpx.AsyncClient, token: Token) -> httpx.AsyncClient:
    host = token(None, service=True)
    registrations: dict[str, Json] = {
        "closed": {"closed": True},
        "few": {"allowed": ["like"]},
        "secret": {"target_type": "message"},
    }
    for target, description in registrations.items():
        await http.put(f"/api/v1/targets/{target}", json=description, headers=host)
    await http.delete("/api/v1/targets/deleted", headers=host)
    await http.delete("/api/v1/users/erased", headers=host)
    return http


async def test_every_refusal_is_described(
    prepared: httpx.AsyncClient, token: Token, described: Described
) -> None:
    for wrong in REFUSED:
        who = {} if wrong.who is None else token(wrong.who)
        if wrong.who == "host":
            who = token(None, service=True)
        response = await prepared.request(
            wrong.method, wrong.url, json=wrong.json, content=wrong.content, headers={**who, **wrong.headers}
        )
        assert response.json().get("code") == wrong.code, (wrong, response.text)
        if wrong.code != "not_found":
            described.check(response)


async def test_repeated_and_reused_keys_are_described(
    http: httpx.AsyncClient, token: Token, described: Described
) -> None:
    keyed = {**token("alice"), "idempotency-key": "k"}
    for reaction, status, replayed in (("like", 200, None), ("like", 200, "true"), ("love", 422, None)):
        response = await http.post(TAP, json={**TOGGLE, "reaction_type": reaction}, headers=keyed)
        assert (response.status_code, response.headers.get("idempotency-replayed")) == (status, replayed)
        described.check(response)


async def test_an_unchanged_answer_is_described(http: httpx.AsyncClient, described: Described) -> None:
    for path in (f"{TAP}/counts?target_ids=a,b", "/api/v1/catalogue"):
        first = await http.get(path)
        again = await http.get(path, headers={"if-none-match": first.headers["etag"]})
        assert (first.status_code, again.status_code) == (200, 304)
        described.check(first)
        described.check(again)


async def test_the_pages_are_described(http: httpx.AsyncClient, described: Described) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
        described.check(await http.get(path))


async def test_get_answers_head_too(http: httpx.AsyncClient, described: Described) -> None:
    for path in (f"{TAP}/counts?target_ids=a", f"{TAP}/feed?target_ids=a", f"{TAP}/a", "/docs"):
        response = await http.head(path)
        assert response.status_code == 200, path
        described.check(response)


async def test_a_limited_user_is_described(settings: Settings, token: Token) -> None:
    chosen = settings.model_copy(update={"rate_limit_per_s": 0.001, "rate_limit_burst": 1})
    async with (
        embedded(chosen) as service,
        httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://plaudit") as http,
    ):
        described = Described((await http.get("/openapi.json")).json())
        for status in (200, 429):
            response = await http.post(TAP, json=TOGGLE, headers=token("alice"))
            assert response.status_code == status
            described.check(response)


async def test_a_stopping_server_is_described(
    service: Service, http: httpx.AsyncClient, token: Token, described: Described
) -> None:
    await service.drain()
    response = await http.post(TAP, json=TOGGLE, headers=token("alice"))
    assert response.json()["code"] == "unavailable"
    described.check(response)
    ready = await http.get("/readyz")
    assert ready.status_code == 503
    described.check(ready)
