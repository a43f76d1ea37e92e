"""Headers that may stand once: two of them are refused by every call, whichever of the two is good."""

from typing import Any

import pytest

from tests.support.api import COUNTS, ME, REACTIONS, Api, assert_problem, nothing_stored

TAP = {"target_id": "{target}", "reaction_type": "like"}
CALLS: dict[str, tuple[str, str, Any, list[str]]] = {
    "toggle": ("POST", REACTIONS, TAP, ["Authorization", "Plaudit-User", "Idempotency-Key", "Content-Type"]),
    "set": ("PUT", REACTIONS, TAP, ["Authorization", "Plaudit-User", "Idempotency-Key", "Content-Type"]),
    "remove": (
        *("DELETE", f"{REACTIONS}?target_id={{target}}", None),
        ["Authorization", "Plaudit-User", "Idempotency-Key"],
    ),
    "counts": ("GET", f"{COUNTS}?target_ids={{target}}", None, ["Authorization"]),
    "stream": ("GET", f"{REACTIONS}/stream?target_ids={{target}}", None, ["Authorization"]),
    "feed": ("GET", f"{REACTIONS}/feed?target_ids={{target}}", None, ["Authorization", "Plaudit-User"]),
    "mine": (
        *("POST", f"{REACTIONS}/mine", {"target_ids": ["{target}"]}),
        ["Authorization", "Plaudit-User", "Content-Type"],
    ),
    "reacted": ("GET", ME, None, ["Authorization", "Plaudit-User"]),
    "describe": ("PUT", "/api/v1/targets/{target}", {}, ["Authorization", "Content-Type"]),
    "notifications": ("GET", "/api/v1/me/notifications", None, ["Authorization", "Plaudit-User"]),
}


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(
    ("call", "doubled"), [(call, name) for call, (*_, names) in CALLS.items() for name in names]
)
async def test_a_header_that_stands_twice_is_refused(
    api: Api, target: str, user: str, call: str, doubled: str, same: bool
) -> None:
    method, path, body, _ = CALLS[call]
    if body:
        body = {
            name: [target] if isinstance(value, list) else value.format(target=target)
            for name, value in body.items()
        }
    headers = {
        **api.host,
        "Plaudit-User": user,
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
    }
    again = headers[doubled] if same else f"{headers[doubled]}x"
    with nothing_stored(api):
        refused = await api.client.request(
            method, path.format(target=target), headers=[*headers.items(), (doubled, again)], json=body
        )
    assert_problem(refused, "duplicate_header", doubled)
