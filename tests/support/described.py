"""Holds real answers against the OpenAPI document: what is not described is a fault."""

import re
from functools import cached_property
from typing import Any

import httpx
from openapi_schema_validator import OAS31Validator, oas31_format_checker

Json = dict[str, Any]


class Described:
    """A document, and the question whether an answer is one of those it describes."""

    def __init__(self, document: Json) -> None:
        self.document = document

    @cached_property
    def _paths(self) -> list[tuple[re.Pattern[str], str]]:
        """Fixed paths first: one of them may look like a template filled in. Only user ids may hold a slash."""
        paths = sorted(self.document["paths"], key=lambda path: path.count("{"))
        return [(re.compile(_pattern(path)), path) for path in paths]

    def operation(self, method: str, path: str) -> Json:
        """The operation of a request. Raises `AssertionError` if there is none."""
        verb = "get" if method == "HEAD" else method.lower()
        for pattern, template in self._paths:
            if pattern.fullmatch(path):
                assert verb in self.document["paths"][template], f"{method} {template} is not described"
                operation: Json = self.document["paths"][template][verb]
                return operation
        raise AssertionError(f"{path} is not described")

    def check(self, response: httpx.Response) -> None:
        """Raise `AssertionError` with what is not as described."""
        request = response.request
        what = f"{request.method} {request.url.raw_path.decode()} {response.status_code} {response.text}"
        operation = self.operation(request.method, request.url.path)
        assert str(response.status_code) in operation["responses"], what
        answer = operation["responses"][str(response.status_code)]
        for name, reference in answer.get("headers", {}).items():
            header = self.component(reference)
            if name in response.headers:
                text = response.headers[name]
                self.validate(int(text) if header["schema"]["type"] == "integer" else text, header["schema"])
            else:
                assert not header["required"], f"{name} is missing: {what}"
        content = answer.get("content", {})
        media = response.headers.get("content-type", "").partition(";")[0]
        assert (media in content) if content else (not response.content), what
        if content and request.method != "HEAD":
            body = response.json() if media.endswith("json") else response.text
            self.validate(body, content[media]["schema"])

    def validate(self, value: object, schema: Json) -> None:
        """Raise `AssertionError` with every fault of a value."""
        whole = {**schema, "components": self.document["components"]}
        validator = OAS31Validator(whole, format_checker=oas31_format_checker)
        assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)] == [], value

    def component(self, node: Json) -> Json:
        """What a node says, or what its reference names."""
        if "$ref" not in node:
            return node
        _, _, kind, name = node["$ref"].split("/")
        found: Json = self.document["components"][kind][name]
        return found


def _pattern(path: str) -> str:
    return "".join(
        ".+" if part == "{user_id}" else "[^/]+" if part.startswith("{") else re.escape(part)
        for part in re.split(r"(\{[^}]*\})", path)
    )
