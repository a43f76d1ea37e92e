"""The docs page: the OpenAPI document for people, as one HTML file that needs nothing from anywhere else.

Style and script stand in the page and are allowed by their hashes, so it works under its own strict policy
(Content Security Policy level 3) and without any script too.
"""

from base64 import b64encode
from hashlib import sha256
from html import escape
from http import HTTPStatus
from importlib.resources import files
from string import Template
from typing import Any, NamedTuple

from plaudit.http.markup import coloured, inline, pretty, prose, type_name
from plaudit.http.problems import CODES

Json = dict[str, Any]

ACCESS = {
    "user": ("token", "Takes a user's token"),
    "public": ("public", "Public targets need no token"),
    "service": ("service token", "Takes a token with the scope service"),
    "nobody": ("open", "Takes no token"),
}
SHORT = {"delete": "del"}
TOKENS = {"user": "TOKEN", "service": "SERVICE_TOKEN"}


class Row(NamedTuple):
    """A parameter or field, as HTML."""

    name: str
    note: str
    description: str
    needed: bool


def docs_page(described: Json) -> str:
    """The page of this document."""
    style, script = _static("docs.css"), _static("docs.js")
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    )
    info = described["info"]
    return Template(_static("docs.html")).substitute(
        policy=escape(policy),
        style=style,
        script=script,
        title=escape(info["title"]),
        version=escape(info["version"]),
        summary=escape(info["summary"]),
        about=prose(info["description"]),
        token=prose(described["components"]["securitySchemes"]["token"]["description"]),
        menu="".join(_menu(*group) for group in _groups(described)),
        calls="".join(_group(described, *group) for group in _groups(described)),
        schemas="".join(_schema(*item) for item in described["components"]["schemas"].items()),
        errors="".join(_error(code, status, title) for code, (status, title) in CODES.items()),
    )


def _static(name: str) -> str:
    return (files("plaudit.http") / "static" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _groups(described: Json) -> list[tuple[Json, list[tuple[str, str, Json]]]]:
    """Each tag with its calls as (method, path, operation)."""
    calls = [
        (method, path, operation)
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
    ]
    return [(tag, [call for call in calls if tag["name"] in call[2]["tags"]]) for tag in described["tags"]]


def _menu(tag: Json, calls: list[tuple[str, str, Json]]) -> str:
    links = "".join(
        f'<li><a href="#{operation["operationId"]}">{_badge(method, SHORT)}'
        f"<span>{escape(operation['summary'])}</span></a>"
        for method, _, operation in calls
    )
    return f"<h2>{escape(tag['name'])}</h2><ul>{links}</ul>"


def _badge(method: str, names: dict[str, str] | None = None) -> str:
    return f'<b class="method {method}">{(names or {}).get(method, method).upper()}</b>'


def _group(described: Json, tag: Json, calls: list[tuple[str, str, Json]]) -> str:
    name = escape(tag["name"])
    shown = "".join(_call(described, *call) for call in calls)
    return f'<section class="group"><h2>{name}</h2><p>{inline(tag["description"])}</p>{shown}</section>'


def _call(described: Json, method: str, path: str, operation: Json) -> str:
    id_, access = operation["operationId"], _access(operation)
    label, meaning = ACCESS[access]
    parameters = [_resolved(described, parameter) for parameter in operation.get("parameters", [])]
    return (
        f'<article class="call" id="{id_}"><div class="told">'
        f'<h3><a class="anchor" href="#{id_}">{escape(operation["summary"])}</a></h3>'
        f'<p class="address">{_badge(method)}<code>{_path(path)}</code>'
        f'<span class="access" title="{meaning}">{label}</span></p>'
        f"{prose(operation['description'])}"
        f"{_parameters(parameters)}{_body_fields(described, operation)}{_problems(operation)}"
        f'</div><div class="shown">'
        f"{_panel('Request', escape(_curl(method, path, operation, parameters, access), quote=False))}"
        f"{''.join(_answers(described, operation))}</div></article>"
    )


def _access(operation: Json) -> str:
    match operation["security"]:
        case []:
            return "nobody"
        case [{"token": ["service"]}]:
            return "service"
        case [{"token": []}]:
            return "user"
    return "public"


def _path(path: str) -> str:
    return escape(path).replace("{", "<var>{").replace("}", "}</var>")


def _resolved(described: Json, node: Json) -> Json:
    """The component that a reference names, with what stands beside it."""
    if "$ref" not in node:
        return node
    _, _, kind, name = node["$ref"].split("/")
    beside = {key: value for key, value in node.items() if key != "$ref"}
    return {**described["components"][kind][name], **beside}


def _rows(rows: list[Row], mark: str = "required", *, marked: bool = True) -> str:
    """Rows of a table; those whose `needed` is `marked` carry the mark."""
    return "".join(
        f'<tr><th scope="row"><code>{row.name}</code>{f"<em>{mark}</em>" if row.needed == marked else ""}</th>'
        f'<td><span class="type">{row.note}</span>{row.description}</td></tr>'
        for row in rows
    )


def _table(title: str, rows: list[Row]) -> str:
    return f"<h4>{title}</h4><table>{_rows(rows)}</table>" if rows else ""


def _parameters(parameters: list[Json]) -> str:
    rows = [
        Row(
            escape(parameter["name"]),
            f"{parameter['in']} · {type_name(parameter['schema'])}{_default(parameter['schema'])}",
            prose(parameter["description"]),
            bool(parameter.get("required")),
        )
        for parameter in parameters
    ]
    return _table("Parameters", rows)


def _default(schema: Json) -> str:
    return f", default <code>{escape(pretty(schema['default']))}</code>" if "default" in schema else ""


def _body_fields(described: Json, operation: Json) -> str:
    if "requestBody" not in operation:
        return ""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return _table("Body", _fields(_resolved(described, schema)))


def _fields(schema: Json) -> list[Row]:
    needed = schema.get("required", [])
    return [
        Row(
            escape(name),
            type_name(inner) + _default(inner),
            prose(inner["description"]) if "description" in inner else "",
            name in needed,
        )
        for name, inner in schema["properties"].items()
    ]


def _problems(operation: Json) -> str:
    lines = []
    for status, response in operation["responses"].items():
        content = response.get("content", {}).get("application/problem+json")
        if content is not None:
            codes = content["schema"]["properties"]["code"]["enum"]
            links = " ".join(f'<a href="#error-{code}">{code}</a>' for code in codes)
            lines.append(f"<dt>{status}</dt><dd>{links}</dd>")
    return f'<h4>Errors</h4><dl class="errors">{"".join(lines)}</dl>' if lines else ""


def _answers(described: Json, operation: Json) -> list[str]:
    """A panel for each answer that is not a problem."""
    panels = []
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        if "application/problem+json" in content:
            continue
        names = [
            f"{escape(name)}{'' if header.get('required') else ' (sometimes)'}"
            for name, header in ((n, _resolved(described, h)) for n, h in response.get("headers", {}).items())
        ]
        title = f"{status} {HTTPStatus(int(status)).phrase}"
        notes = [inline(response["description"]), *(type_name(c["schema"]) for c in content.values())]
        if names:
            notes.append(f"headers {', '.join(names)}")
        examples = [coloured(c["example"]) for c in content.values() if "example" in c]
        note = f'<p class="note">{" · ".join(notes)}</p>'
        panels.append(_panel(title, examples[0] if examples else "", note))
    return panels


def _panel(title: str, code: str, note: str = "") -> str:
    shown = f"<pre tabindex=0><code>{code}</code></pre>" if code else ""
    return f'<figure class="panel"><figcaption>{title}</figcaption>{note}{shown}</figure>'


def _curl(method: str, path: str, operation: Json, parameters: list[Json], access: str) -> str:
    """The call for a shell, where $PLAUDIT is the address and $TOKEN or $SERVICE_TOKEN a token."""
    query = []
    for parameter in parameters:
        example = parameter.get("example")
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(example))
        elif parameter["in"] == "query" and parameter.get("required"):
            text = ",".join(example) if isinstance(example, list) else str(example)
            query.append(f"{parameter['name']}={text}")
    address = f'"$PLAUDIT{path}{"?" if query else ""}{"&".join(query)}"'
    lines = [f"curl {'' if method == 'get' else f'-X {method.upper()} '}{address}"]
    if access in TOKENS or operation["operationId"] in {"feed", "feed_by_body", "one"}:
        lines.append(f'-H "Authorization: Bearer ${TOKENS.get(access, "TOKEN")}"')
    if any(parameter["name"] == "Idempotency-Key" for parameter in parameters):
        lines.append('-H "Idempotency-Key: $(uuidgen)"')
    if "requestBody" in operation:
        example = operation["requestBody"]["content"]["application/json"]["example"]
        lines += ['-H "Content-Type: application/json"', f"-d '{pretty(example)}'"]
    return " \\\n  ".join(lines)


def _schema(name: str, schema: Json) -> str:
    parts = [f'<article class="schema" id="schema-{name}"><h3>{name}</h3>']
    parts.append(prose(schema["description"]) if "description" in schema else "")
    if "properties" in schema:
        parts.append(f"<table>{_rows(_fields(schema), 'optional', marked=False)}</table>")
    else:
        parts.append(f'<p class="type">{type_name(schema)}</p>')
    return "".join(parts) + "</article>"


def _error(code: str, status: int, title: str) -> str:
    return (
        f'<tr id="error-{code}"><th scope="row"><a href="#error-{code}"><code>{code}</code></a></th>'
        f"<td>{status}</td><td>{inline(title)}</td></tr>"
    )
