"""The document is valid, complete, and says the same as the code it describes."""

import json
import re
from itertools import chain

import openapi_spec_validator
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Route

from plaudit.bootstrap.front import Service
from plaudit.domain import ids
from plaudit.domain.catalogue import DEFAULT_REACTIONS, Catalogue, Reaction, TargetType
from plaudit.domain.errors import Invalid
from plaudit.http.app import App
from plaudit.http.calls import CALLS
from plaudit.http.hot import COUNTS, TAP
from plaudit.http.openapi import document
from plaudit.http.parameters import IDEMPOTENCY_KEY
from plaudit.http.problems import CODES
from plaudit.http.schemas import TARGET_ID, USER_ID
from plaudit.http.stream import STREAM
from tests.support.described import Described

HOT = {(TAP, "post"), (TAP, "put"), (TAP, "delete"), (COUNTS, "get"), (STREAM, "get")}
# Addresses that no client of the API calls, each with the reason.
UNDESCRIBED = {"/demo": "the demo page and its files", "/widget": "the files of the web components"}
# Codes that belong to no described call.
ANYWHERE = {"method_not_allowed"}

CATALOGUES = {
    "default": Catalogue(),
    "one": Catalogue([Reaction(code=3, name="like", emoji="👍", label="Like")]),
    "others": Catalogue(
        [
            Reaction(code=2, name="gone", emoji="-", label="Gone", retired=True),
            Reaction(code=9, name="clap", emoji="👏", label="Clap"),
            Reaction(code=11, name="yes", emoji="✅", label="Yes"),
        ],
        [TargetType(name="post", reactions=("clap",)), TargetType(name="room", access="granted")],
    ),
    "retired": Catalogue([Reaction(code=1, name="gone", emoji="-", label="Gone", retired=True)]),
}


@pytest.fixture(params=CATALOGUES)
def catalogue(request: pytest.FixtureRequest) -> Catalogue:
    return CATALOGUES[request.param]


def test_it_is_openapi_3_1(catalogue: Catalogue) -> None:
    described = document(catalogue)
    assert described["openapi"].startswith("3.1.")
    openapi_spec_validator.validate(described)


def test_every_component_is_used_and_every_used_one_is_there(catalogue: Catalogue) -> None:
    described = document(catalogue)
    used = set(re.findall(r'"\$ref": "#/components/(\w+/\w+)"', json.dumps(described)))
    there = {
        f"{kind}/{name}"
        for kind, components in described["components"].items()
        if kind not in {"securitySchemes"}
        for name in components
    }
    assert used - there == set()
    assert there - used == {f"examples/{code}" for code in ANYWHERE}


def test_the_words_are_those_of_the_catalogue(catalogue: Catalogue) -> None:
    schemas = document(catalogue)["components"]["schemas"]
    assert schemas["Reaction"]["enum"] == [reaction.name for reaction in catalogue.reactions]
    assert list(schemas["Counts"]["properties"]["reactions"]["properties"]) == schemas["Reaction"]["enum"]
    assert schemas["TargetType"]["enum"] == list(catalogue.types)


def test_every_example_is_as_described(catalogue: Catalogue) -> None:
    described = Described(document(catalogue))
    seen = 0
    for operations in described.document["paths"].values():
        for operation in operations.values():
            bodies = operation.get("requestBody", {}).get("content", {}).values()
            answers = (response.get("content", {}).values() for response in operation["responses"].values())
            for content in chain(bodies, *answers):
                examples = [described.component(e)["value"] for e in content.get("examples", {}).values()]
                for example in [*examples, *([content["example"]] if "example" in content else [])]:
                    described.validate(example, content["schema"])
                    seen += 1
    for parameter in described.document["components"]["parameters"].values():
        if "example" in parameter:
            described.validate(parameter["example"], parameter["schema"])
    assert seen > 100


def test_a_schema_refuses_what_the_catalogue_does_not_know() -> None:
    described = Described(document(Catalogue(DEFAULT_REACTIONS[:2])))
    described.validate({"target_id": "t", "reaction_type": "like"}, {"$ref": "#/components/schemas/Toggle"})
    with pytest.raises(AssertionError, match="haha"):
        described.validate(
            {"target_id": "t", "reaction_type": "haha"}, {"$ref": "#/components/schemas/Toggle"}
        )


async def test_every_route_is_described_and_nothing_else(service: Service) -> None:
    assert isinstance(service.app, App)
    behind = service.app._rest
    assert isinstance(behind, Starlette)
    assert all(isinstance(route, Route) for route in behind.routes)
    routes = {
        (re.sub(r":\w+}", "}", route.path), method.lower())
        for route in behind.routes
        if isinstance(route, Route) and not route.path.startswith(tuple(UNDESCRIBED))
        for method in route.methods or ()
        if method != "HEAD"
    }
    paths = document(Catalogue())["paths"]
    described = {(path, method) for path, operations in paths.items() for method in operations}
    assert described == routes | HOT


def test_the_codes_are_those_of_the_table() -> None:
    for call in CALLS:
        assert len(set(call.codes)) == len(call.codes), f"{call.id} lists a code twice"
    assert {code for call in CALLS for code in call.codes} | ANYWHERE == set(CODES)


@given(
    st.one_of(st.text(max_size=140), st.from_regex(TARGET_ID), st.sampled_from(sorted(ids.RESERVED_TARGETS)))
)
def test_a_target_id_is_what_the_pattern_says(text: str) -> None:
    assert matches(TARGET_ID, text) == accepts(ids.target_id, text)


@given(st.one_of(st.text(max_size=140), st.from_regex(USER_ID)))
def test_a_user_id_is_what_the_pattern_says(text: str) -> None:
    assert matches(USER_ID, text) == accepts(ids.user_id, text)


@given(st.one_of(st.text(max_size=140), st.from_regex(IDEMPOTENCY_KEY)))
def test_an_idempotency_key_is_what_the_pattern_says(text: str) -> None:
    assert matches(IDEMPOTENCY_KEY, text) == accepts(
        ids.idempotency_key, text.encode("utf-8", "surrogatepass")
    )


def matches(pattern: str, text: str) -> bool:
    """As JSON Schema means it: to Python `$` would let a newline through."""
    return (
        re.search(
            pattern.replace("$", r"\Z")
            if pattern != USER_ID
            else pattern[:-1].replace("?$)", r"?\Z)") + r"\Z",
            text,
        )
        is not None
    )


def accepts(check: object, value: object) -> bool:
    assert callable(check)
    try:
        check(value)
    except Invalid:
        return False
    return True
