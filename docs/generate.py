"""Writes the reference pages from the tables in the code: `make docs`. tests/meta/test_docs.py keeps them in step.

Each page is a function without arguments that returns Markdown. It reads the code and nothing else, so the same code
makes the same page on every machine.
"""

import json
from collections.abc import Callable, Iterable
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from typer.main import get_command

from benchmarks.every import BENCHMARKS
from plaudit import cli
from plaudit.domain.catalogue import Catalogue
from plaudit.environment import PREFIX
from plaudit.http.calls import CALLS
from plaudit.http.openapi import document
from plaudit.http.problems import CODES
from plaudit.services.deliver import POLICY
from plaudit.settings import Settings
from plaudit.telemetry import METRICS

FOLDER = Path(__file__).parent
NOTE = '<!-- Written by "make docs" from {source}. Change it there. -->\n'
RETRY = {
    "rate_limited": "after `Retry-After` seconds",
    "deletion_in_progress": "when the deletion job is done",
    "token_expired": "with a new token",
    "internal": "perhaps; a tap with the same key",
    "overloaded": "after `Retry-After` seconds",
    "deadline": "after `Retry-After` seconds",
    "unavailable": "after `Retry-After` seconds",
    "outcome_unknown": "with the same key",
}
SERIES = {"counter": "_total", "gauge": "", "histogram": "_bucket, _count, _sum"}
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
ACCESS = {
    "user": "a user's",
    "public": "none for what is public",
    "service": "scope `service`",
    "nobody": "none",
}


def page(title: str, source: str, *parts: str) -> str:
    """A page of these parts."""
    return "\n".join([f"# {title}\n", NOTE.format(source=source), *parts])


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def settings() -> str:
    """docs/settings.md."""
    rows = [
        (
            f"`{PREFIX}{name.upper()}`",
            _kind(field),
            _default(field.get_default(call_default_factory=True)),
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]
    return page(
        "Settings",
        "src/plaudit/settings.py",
        "Each setting is an environment variable, or a key of `plaudit.toml` in the working directory: the same name "
        "in lower case without the prefix. The environment wins, and options of [the command line](cli.md) win over "
        "both. Lists and tables are JSON in the environment. A setting that nobody knows, or a value it cannot have, "
        "stops the process with its name.\n",
        table(("setting", "value", "default", "what it does"), rows),
    )


def _kind(field: FieldInfo) -> str:
    return _type(field.annotation) + "".join(
        f", {sign} {_plain(limit)}"
        for bound in field.metadata
        for name, sign in BOUNDS.items()
        if (limit := getattr(bound, name, None)) is not None
    )


def _type(annotation: Any) -> str:
    names: dict[Any, str] = {
        bool: "true or false",
        int: "whole number",
        float: "number",
        str: "text",
        Path: "path",
        SecretStr: "text, secret",
    }
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is list:
        (inner,) = get_args(annotation)
        return (
            f"list of {'tables' if get_origin(inner) is dict else 'numbers' if inner is int else 'texts'}"
            + (", secret" if inner is SecretStr else "")
        )
    (inner,) = (part for part in get_args(annotation) or (annotation,) if part is not type(None))
    return names[inner]


def _default(value: object) -> str:
    if value is None or value == []:
        return ""
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{_plain(value)}`"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def errors() -> str:
    """docs/errors.md."""
    everywhere = [call for call in CALLS if call.codes]
    rows = []
    for code, (status, title) in CODES.items():
        calls = [call.id for call in everywhere if code in call.codes]
        where = "every call" if len(calls) == len(everywhere) else ", ".join(f"`{id_}`" for id_ in calls)
        rows.append((f"`{code}`", str(status), title, RETRY.get(code, "no"), where or "any address"))
    return page(
        "Error codes",
        "src/plaudit/http/problems.py and src/plaudit/http/calls.py",
        "Every error is a problem detail (RFC 9457, `application/problem+json`) whose `code` is one of these. Codes "
        "are stable, texts are not. `errors` names the offending fields; where a call about targets is refused because "
        "the asker may not see them, `target_ids` has all of those, and the call without them is answered. So it is "
        "where a read fails (`internal`) because of damaged ones. What each means for a tap is in "
        "[delivery](delivery.md), the calls are in [the HTTP API](http-api.md).\n",
        table(("code", "status", "what it says", "worth repeating", "calls"), rows),
    )


def metrics() -> str:
    """docs/metrics.md."""
    rows = [
        (
            ", ".join(f"`{metric.name}{end.strip()}`" for end in SERIES[metric.kind].split(",")),
            metric.kind,
            f"`{metric.label}`" if metric.label else "",
            metric.help,
        )
        for metric in METRICS
    ]
    return page(
        "Metrics",
        "src/plaudit/telemetry.py",
        "`GET /metrics` answers these in the Prometheus text format, and `process_*` beside them. Every value is of "
        "this one process since it started. No label holds a user or a target.\n",
        table(("series", "kind", "label", "what it says"), rows),
    )


def commands() -> str:
    """docs/cli.md."""
    parts = []
    for name, command in _commands(get_command(cli.cli)):
        parts.append(f"## plaudit {name}\n")
        parts.append(f"{_unwrapped(command.help or '')}\n")
        if rows := [_option(option) for option in command.params if option.name != "help"]:
            parts.append(table(("option", "what it does"), rows))
    codes = table(("exit code", "name"), ((str(int(code)), code.name.lower()) for code in _exits()))
    about = f"{(cli.__doc__ or '').partition('Exit codes: ')[2].strip()}\n"
    return page(
        "The command line",
        "src/plaudit/cli/",
        "Every command reads [the settings](settings.md).\n",
        *parts,
        "## Exit codes\n",
        about,
        codes,
    )


def _commands(group: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Every command with its whole name, those of groups too."""
    found = []
    for name, command in sorted(group.commands.items()):
        inner = hasattr(command, "commands")
        found += _commands(command, f"{prefix}{name} ") if inner else [(f"{prefix}{name}", command)]
    return found


def _exits() -> type[IntEnum]:
    return cli.Exit


def _option(option: Any) -> tuple[str, str]:
    text = option.help or ""
    if option.param_type_name == "argument":
        return f"`{option.name.upper()}`", text
    names = ", ".join(option.opts)
    value = "" if option.is_flag else f" {option.name.strip('_').upper()}"
    if option.default not in (None, False) and not callable(option.default):
        text += f" Default: {option.default}."
    return f"`{names}{value}`", text


def _unwrapped(text: str) -> str:
    """Paragraphs on one line each."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def http_api() -> str:
    """docs/http-api.md."""
    parts = []
    described = document(Catalogue())
    for tag in described["tags"]:
        rows = [
            (
                f"`{call.method.upper()} {call.path}`",
                call.summary,
                ACCESS[call.access],
                ", ".join(described["paths"][call.path][call.method]["responses"]),
            )
            for call in CALLS
            if call.tag == tag["name"]
        ]
        parts += [
            f"## {tag['name']}\n",
            f"{tag['description']}\n",
            table(("call", "does", "token", "answers"), rows),
        ]
    return page(
        "The HTTP API",
        "src/plaudit/http/calls.py",
        "The short table. A running Plaudit has the whole at `/docs` (for people) and `/openapi.json` (for programs), "
        "with its own reactions and target types. What each error code means is in [errors](errors.md), who calls is "
        "said by a [token](tokens.md), and pages of another origin have to be named in `PLAUDIT_CORS_ORIGINS`. The "
        "[README](../README.md#a-tour-with-curl) has calls to paste.\n",
        *parts,
    )


def _webhook() -> str:
    """What the webhook's receiver is sent: the example, and what its fields mean."""
    described = document(Catalogue())
    schemas = described["components"]["schemas"]
    content = described["webhooks"]["notification.created"]["post"]["requestBody"]["content"][
        "application/json"
    ]
    fields = schemas["NotificationCreated"]["properties"]["data"]["properties"]
    rows = [(f"`{name}`", _meaning(schemas, schema)) for name, schema in fields.items()]
    example = json.dumps(content["example"], indent=2, ensure_ascii=False)
    return f"```json\n{example}\n```\n\n{table(('in `data`', 'meaning'), rows).rstrip()}"


def _meaning(schemas: dict[str, Any], schema: dict[str, Any]) -> str:
    """What stands beside a field, or what its schema says of itself."""
    of_itself = schemas.get(schema.get("$ref", "").rpartition("/")[2], {})
    return str(schema.get("description") or of_itself.get("description", ""))


def notifications() -> str:
    """docs/notifications.md."""
    does = {"done": "done with", "again": "again later", "now": "again at once", "dead": "dead letter"}
    devices = {"keep": "stays", "gone": "goes", "suspect": "is suspect", "fine": "is fine"}
    rows = [
        (
            f"`{reason}`",
            policy.meaning,
            does[policy.push],
            devices[policy.device],
            "yes" if policy.well else "no",
        )
        for reason, policy in POLICY.items()
    ]
    return page(
        "Notifications",
        "docs/notifications.txt, POLICY in src/plaudit/services/deliver.py, and the webhook of the OpenAPI document",
        (FOLDER / "notifications.txt")
        .read_text(encoding="utf-8")
        .replace(
            "POLICY", table(("reason", "means", "the push is", "the device", "provider well"), rows).rstrip()
        )
        .replace("WEBHOOK_BODY", _webhook()),
    )


def benchmarks() -> str:
    """docs/benchmarks.md."""
    rows = (
        (
            f"`{each.name}`",
            f"{each.minutes}",
            each.what + ("; on the engines of `make bench-cluster ARGS=--up`" if each.on_running else ""),
            f"`python -m benchmarks.{each.command}`",
            _written(each.writes),
        )
        for each in BENCHMARKS
    )
    return page(
        "Benchmarks",
        "BENCHMARKS in benchmarks/every.py",
        '`make bench-all` lists them, `make bench-all ARGS="cold hot"` runs those, `ARGS=all` all that start their\n'
        "own engines. Minutes are about what they take on two cores. Each prints its figures; the page or the results\n"
        "that it writes have them with hardware and versions beside. Figures compare within one run, on a machine\n"
        "that is free for it.\n",
        table(("name", "minutes", "measures", "command", "writes"), rows),
    )


def _written(path: str) -> str:
    """A link from this folder."""
    if not path:
        return "nothing"
    place = path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"
    return f"[{Path(path).name}]({place})"


PAGES: dict[str, Callable[[], str]] = {
    "benchmarks.md": benchmarks,
    "settings.md": settings,
    "errors.md": errors,
    "metrics.md": metrics,
    "cli.md": commands,
    "http-api.md": http_api,
    "notifications.md": notifications,
}


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
