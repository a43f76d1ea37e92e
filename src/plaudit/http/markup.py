"""Pieces of HTML for the docs page: prose, JSON in colour, names of types. Escapes whatever it is given."""

import json
import re
from html import escape
from typing import Any

Json = dict[str, Any]

_TOKEN = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>\b(?:true|false|null)\b|-?\b\d+\b)'
)
_INLINE = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<strong>[^*]+)\*\*")
JSON_WIDTH = 52


def prose(text: str) -> str:
    """Paragraphs, `code` and **strong** of CommonMark: all that our descriptions use."""
    return "".join(f"<p>{inline(part)}</p>" for part in text.split("\n\n"))


def inline(text: str) -> str:
    """`code` and **strong** within a line."""
    found, at = [], 0
    for match in _INLINE.finditer(text):
        found.append(escape(text[at : match.start()]))
        tag = match.lastgroup
        found.append(f"<{tag}>{escape(match[tag or 0])}</{tag}>")
        at = match.end()
    return "".join(found) + escape(text[at:])


def coloured(value: object) -> str:
    """A JSON value as people write it, with its keys, texts and other values marked."""
    text, found, at = pretty(value), [], 0
    for match in _TOKEN.finditer(text):
        found.append(escape(text[at : match.start()], quote=False))
        found.append(f'<span class="{match.lastgroup}">{escape(match[0], quote=False)}</span>')
        at = match.end()
    return "".join(found) + escape(text[at:], quote=False)


def pretty(value: object, indent: int = 0) -> str:
    """JSON that stays on one line where it fits."""
    short = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or indent + len(short) <= JSON_WIDTH:
        return short
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{json.dumps(k, ensure_ascii=False)}: {pretty(v, indent + 2)}" for k, v in value.items()]
        opening, closing = "{", "}"
    else:
        parts = [pretty(item, indent + 2) for item in value]
        opening, closing = "[", "]"
    body = ",\n".join(inner + part for part in parts)
    return f"{opening}\n{body}\n{' ' * indent}{closing}"


def type_name(schema: Json) -> str:
    """What a schema allows, in a few words, with links to named ones."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(type_name(branch) for branch in schema["anyOf"])
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if "enum" in schema:
        return " ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    kinds = schema.get("type", "any")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    return " or ".join(_kind(kind, schema) for kind in kinds) + _bounds(schema)


def _kind(kind: str, schema: Json) -> str:
    if kind == "array":
        return f"list of {type_name(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {type_name(schema['additionalProperties'])}"
    if kind == "string" and schema.get("format") == "date-time":
        return "time"
    return "text" if kind == "string" else escape(kind)


def _bounds(schema: Json) -> str:
    low = schema.get("minimum", schema.get("minItems"))
    high = schema.get("maximum", schema.get("maxItems"))
    if low is not None and high is not None:
        return f", {low}–{high}"
    if high is not None:
        return f", at most {high}"
    return f", at most {schema['maxLength']} characters" if "maxLength" in schema else ""
