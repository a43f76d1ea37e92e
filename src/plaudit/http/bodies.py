"""Reading what a client sends: headers, bodies, query strings, ids.

What is unknown, doubled or too big is refused by name.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from plaudit.domain import ids
from plaudit.domain.errors import Invalid
from plaudit.http.problems import invalid_body

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")

MAX_BODY_BYTES = 16 * 1024
MAX_TARGETS = 100
BODY_WITHIN_S = 10.0


def once(earlier: object, name: bytes, value: bytes) -> bytes:
    """The value of a header that may stand once: of two, each part on the way may believe another. `earlier` is None
    unless it stood before. Raises `Invalid`."""
    if earlier is not None:
        shown = name.decode().title()
        raise Invalid("duplicate_header", f"The header {shown} stands twice.", field=shown)
    return value


def header(scope: Scope, name: bytes) -> bytes | None:
    """A header as it was sent. Raises `Invalid` if it stands twice."""
    found = None
    for each, value in scope["headers"]:
        if each == name:
            found = once(found, name, value)
    return found


async def read_body(receive: Receive, content_type: bytes | None) -> bytes:
    """The whole body. Raises `Invalid` for another media type, over 16 KiB, or one that breaks off or is too slow."""
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            return await _read(receive, content_type, None)
    except TimeoutError:
        raise _too_slow(BODY_WITHIN_S) from None


class Patience:
    """Reads bodies as `read_body` does, with one timer for all of them: every tap comes through here, and a timer of
    its own would be a tenth of what it costs."""

    def __init__(self, within_s: float = BODY_WITHIN_S) -> None:
        self._within_s = within_s
        self._reading: dict[asyncio.Task[Any], float] = {}  # since when, oldest first
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, receive: Receive, content_type: bytes | None, length: bytes | None) -> bytes:
        """The whole body; `length` is the Content-Length as sent. Raises `Invalid`."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a body is read in a task")
        self._reading[task] = monotonic()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._within_s, self._look)
        try:
            return await _read(receive, content_type, length)
        except asyncio.CancelledError:
            if task not in self._late or task.uncancel() > 0:
                raise
            raise _too_slow(self._within_s) from None
        finally:
            del self._reading[task]
            if self._late:
                self._late.discard(task)

    def _look(self) -> None:
        """Cancel who waits too long, and look again when the next one would."""
        self._timer = None
        now_s = monotonic()
        for task, since_s in self._reading.items():
            left_s = since_s + self._within_s - now_s
            if left_s > 0:
                self._timer = asyncio.get_running_loop().call_later(left_s, self._look)
                return
            if task not in self._late:
                self._late.add(task)
                task.cancel()


async def _read(receive: Receive, content_type: bytes | None, length: bytes | None) -> bytes:
    if content_type != b"application/json" and not _is_json(content_type):
        raise Invalid("unsupported_media_type", "Send Content-Type: application/json.", field="Content-Type")
    message = await receive()
    body: bytes = message.get("body", b"")
    # A body of the length that was announced is whole; the server would say so in a further message.
    whole = not message.get("more_body") or (length is not None and length == b"%d" % len(body))
    if not whole or message["type"] == "http.disconnect":
        body = await _whole(receive, message)
    if len(body) > MAX_BODY_BYTES:
        raise Invalid("body_too_large", f"A body has at most {MAX_BODY_BYTES} bytes.")
    return body


def _too_slow(within_s: float) -> Invalid:
    return Invalid("invalid_json", f"The body did not arrive within {within_s:.0f} s.")


def _is_json(content_type: bytes | None) -> bool:
    return content_type is not None and content_type.partition(b";")[0].strip().lower() == b"application/json"


async def _whole(receive: Receive, message: Message) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            # The client hung up, or sent broken chunks and is still there to be told.
            raise Invalid("invalid_json", "The body broke off before its end.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES or not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The decoded body. Raises `Invalid` that names the field. Does not see doubled keys: see `refuse_doubled`."""
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_body(error) from error


def refuse_doubled(body: bytes) -> None:
    """Raise `Invalid` (`duplicate_field`) if an object in this (valid) JSON has a key twice."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise Invalid("duplicate_field", f"The field {name!r} stands twice in the body.", field=name)

    json.loads(body, object_pairs_hook=check)


def parameters(query: bytes, known: Iterable[str]) -> dict[str, str]:
    """The query parameters; names starting with `_` are ignored. Raises `Invalid` for unknown and doubled ones."""
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=32)
    except ValueError as error:
        raise Invalid("invalid_parameter", f"The query string cannot be read: {error}.") from error
    for name, value in pairs:
        if name.startswith("_"):
            continue
        if name not in known:
            raise Invalid(
                "unknown_parameter", f"This call does not know the parameter {name[:64]!r}.", field=name[:64]
            )
        if name in found:
            raise Invalid("invalid_parameter", f"The parameter {name!r} stands twice.", field=name)
        found[name] = value
    return found


def limit_of(text: str | None) -> int:
    """A page size of 1-100, 20 if none was asked for. Raises `Invalid`."""
    if text is None:
        return 20
    if text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= 100:
        return int(text)
    raise Invalid("invalid_parameter", "limit is a whole number from 1 to 100.", field="limit")


def raw_ids(query: bytes) -> list[str] | None:
    """The ids of a query string that is nothing but `target_ids=…`, unchecked; None for any other query string."""
    if not query.startswith(b"target_ids=") or b"&" in query or b"+" in query:
        return None
    text = query[11:].decode("latin-1")
    return (unquote(text) if "%" in text else text).split(",")


def target_ids(values: Sequence[object]) -> list[str]:
    """1-100 different target ids. Raises `Invalid`."""
    if len(values) > MAX_TARGETS:
        raise Invalid(
            "too_many_targets", f"One call takes at most {MAX_TARGETS} targets.", field="target_ids"
        )
    if not values:
        raise Invalid("missing_parameter", "Name at least one target.", field="target_ids")
    found = [ids.target_id(value, "target_ids") for value in values]
    if len(set(found)) != len(found):
        twice = next(id_ for id_ in found if found.count(id_) > 1)
        raise Invalid("repeated_target", f"The target {twice} stands twice in the list.", field="target_ids")
    return found


def split_ids(text: str | None) -> list[str]:
    """The ids of the parameter `target_ids`. Raises `Invalid`."""
    if not text:
        raise Invalid("missing_parameter", "Name at least one target: target_ids=a,b.", field="target_ids")
    return target_ids(text.split(","))
