"""What travels in a file of reactions: one record per line, read strictly and written so that reading it gives it back.

A line of JSON is a reaction unless its `kind` says `target` or `user`; a line of CSV is a reaction. The format is
described in `docs/moving-data.md`. Whatever a line holds, parsing gives a record or raises `Invalid` with a code of
`REFUSALS`. What becomes of a record is decided in `plaudit.domain.merge`.
"""

import csv
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, TypeVar

import msgspec

from plaudit.domain import ids
from plaudit.domain.catalogue import DEFAULT_TYPE, NONE, Catalogue, Registration
from plaudit.domain.errors import Invalid

MAX_LINE_BYTES = 64 * 1024
MAX_VERSION = (1 << 53) - 1  # what a client in JavaScript can still tell from its neighbours
AHEAD_US = 300 * 1_000_000  # so far may a time lie in the future, for clocks that disagree

REFUSALS = {
    "line_too_long": "the line is longer than 64 KiB",
    "invalid_json": "the line is not JSON in UTF-8",
    "invalid_csv": "the line is not CSV in UTF-8, or its columns are not those of the header",
    "unknown_kind": "`kind` is neither `reaction`, `target` nor `user`",
    "missing_field": "a field is missing or empty",
    "unknown_field": "there is a field that nobody knows",
    "invalid_field": "a field has a value of the wrong kind",
    "invalid_target_id": "this is not a target id",
    "invalid_user_id": "this is not a user id",
    "unknown_reaction": "the catalogue has no such reaction",
    "unknown_target_type": "there is no such target type",
    "invalid_time": "not a time in RFC 3339 with a zone, before 1970, in the future, or updated before created",
    "target_type_mismatch": "the target has another type here",
    "target_in_use": "deleted there, but it has reactions or a registration here; delete it here first",
}
SKIPS = {
    "already_there": "the same state is there already",
    "newer_there": "a newer state is there, and stays",
    "user_erased": "the user was erased",
    "target_deleted": "the target was deleted",
    "registration_kept": "another registration or profile is there, and stays",
}

CSV_COLUMNS = ("target_id", "user_id", "reaction", "created_at", "updated_at", "target_type")
_REQUIRED = frozenset(CSV_COLUMNS[:4])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELD = re.compile(r"`\$\.(\w+)|field `([^`]{1,64})")
T = TypeVar("T")


class ReactionRecord(msgspec.Struct, frozen=True, gc=False):
    """One user's reaction on one target, 0 for one taken back. Times are microseconds UTC. `line` is where it stood."""

    target: str
    user: str
    reaction: int
    created_at: int
    updated_at: int
    type: str | None = None
    line: int = 0


class TargetRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a target beside its reactions. `version` is the highest that anybody has been shown."""

    target: str
    type: str
    version: int = 0
    registration: Registration | None = None
    deleted: bool = False
    line: int = 0


class UserRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a user is shown; of an erased one only the mark (microseconds UTC)."""

    user: str
    name: str | None = None
    avatar_url: str | None = None
    locale: str | None = None
    time_zone: str | None = None
    erased_at: int | None = None
    line: int = 0


Record = ReactionRecord | TargetRecord | UserRecord
Time = Annotated[datetime, msgspec.Meta(tz=True)]


class _ReactionLine(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    target_id: str | int
    user_id: str | int
    reaction: str | None
    created_at: Time
    updated_at: Time | None = None
    target_type: str | None = None
    kind: Literal["reaction"] = "reaction"


class _TargetLine(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    kind: Literal["target"]
    target_id: str | int
    target_type: str = DEFAULT_TYPE
    version: Annotated[int, msgspec.Meta(ge=0, le=MAX_VERSION)] = 0
    registered: bool = False
    owner_id: str | int | None = None
    title: str | None = None
    closed: bool = False
    allowed: list[str] | None = None
    deleted: bool = False


class _UserLine(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    kind: Literal["user"]
    user_id: str | int
    name: str | None = None
    avatar_url: str | None = None
    locale: str | None = None
    time_zone: str | None = None
    erased_at: Time | None = None


class _Kind(msgspec.Struct):
    kind: str = "reaction"


_reaction_line = msgspec.json.Decoder(_ReactionLine)
_target_line = msgspec.json.Decoder(_TargetLine)
_user_line = msgspec.json.Decoder(_UserLine)
_kind = msgspec.json.Decoder(_Kind)
_encode = msgspec.json.Encoder().encode


class Parser:
    """Reads lines of one file. `now` (microseconds UTC) is what no time may lie beyond."""

    def __init__(self, catalogue: Catalogue, now: int) -> None:
        self._catalogue = catalogue
        self._latest = now + AHEAD_US
        self._columns: list[str] = []

    def json(self, text: bytes, line: int) -> Record:
        """The record in a line of JSON. Raises `Invalid`."""
        if b'"kind"' in text:
            kind = _read(_kind, text).kind
            if kind == "target":
                return self._target(_read(_target_line, text), line)
            if kind == "user":
                return self._user(_read(_user_line, text), line)
            if kind != "reaction":
                raise Invalid("unknown_kind", REFUSALS["unknown_kind"], field="kind")
        return self._reaction(_read(_reaction_line, text), line)

    def csv_header(self, text: bytes) -> None:
        """Take the names of the columns from the first line. Raises `Invalid`."""
        columns = _cells(text)
        for name in columns:
            if name not in CSV_COLUMNS:
                raise Invalid("unknown_field", f"There is no column {name[:64]!r}.", field=name[:64])
        for name in CSV_COLUMNS:
            if name in _REQUIRED and name not in columns:
                raise Invalid("missing_field", f"The first line lacks the column {name!r}.", field=name)
        if len(set(columns)) != len(columns):
            raise Invalid("invalid_csv", "A column stands twice in the first line.")
        self._columns = columns

    def csv(self, text: bytes, line: int) -> Record:
        """The record in a line of CSV. Raises `Invalid`."""
        cells = _cells(text)
        if len(cells) != len(self._columns):
            raise Invalid("invalid_csv", f"{len(cells)} cells for {len(self._columns)} columns.")
        named = {name: cell for name, cell in zip(self._columns, cells, strict=True) if cell}
        try:
            found = msgspec.convert(named, _ReactionLine)
        except msgspec.ValidationError as error:
            raise _refusal(error) from error
        return self._reaction(found, line)

    def _reaction(self, found: _ReactionLine, line: int) -> ReactionRecord:
        name = found.reaction
        code = NONE if name is None else self._catalogue.code(name, "reaction")
        if found.target_type is not None:
            self._catalogue.target_type(found.target_type)
        created_at = self._time(found.created_at, "created_at")
        updated_at = created_at
        if found.updated_at is not None:
            updated_at = self._time(found.updated_at, "updated_at")
            if updated_at < created_at:
                raise Invalid("invalid_time", "Updated before it was created.", field="updated_at")
        return ReactionRecord(
            ids.target_id(found.target_id),
            ids.user_id(found.user_id),
            code,
            created_at,
            updated_at,
            found.target_type,
            line,
        )

    def _target(self, found: _TargetLine, line: int) -> TargetRecord:
        self._catalogue.target_type(found.target_type)
        owner = None if found.owner_id is None else ids.user_id(found.owner_id, "owner_id")
        described = owner is not None or found.title is not None or found.closed or found.allowed is not None
        if (described and not found.registered) or (found.registered and found.deleted):
            raise Invalid(
                "invalid_field", "Only a registered target has a description, and a deleted one is none."
            )
        registration = None
        if found.registered:
            allowed = None if found.allowed is None else self._catalogue.mask(found.allowed)
            registration = Registration(
                type=found.target_type, owner=owner, title=found.title, closed=found.closed, allowed=allowed
            )
        return TargetRecord(
            target=ids.target_id(found.target_id),
            type=found.target_type,
            version=found.version,
            registration=registration,
            deleted=found.deleted,
            line=line,
        )

    def _user(self, found: _UserLine, line: int) -> UserRecord:
        erased_at = None if found.erased_at is None else self._time(found.erased_at, "erased_at")
        profile = (found.name, found.avatar_url, found.locale, found.time_zone)
        if erased_at is not None and profile != (None, None, None, None):
            raise Invalid("invalid_field", "An erased user has no profile.", field="erased_at")
        return UserRecord(
            user=ids.user_id(found.user_id),
            name=found.name,
            avatar_url=found.avatar_url,
            locale=found.locale,
            time_zone=found.time_zone,
            erased_at=erased_at,
            line=line,
        )

    def _time(self, at: datetime, field: str) -> int:
        since = at - _EPOCH
        us = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        if not 0 < us <= self._latest:
            raise Invalid("invalid_time", "Before 1970 or in the future.", field=field)
        return us


def json_line(record: Record, catalogue: Catalogue) -> bytes:
    """The record as a line of JSON, without its end. Raises `Invalid` for a reaction the catalogue does not know."""
    match record:
        case ReactionRecord():
            return _encode(
                _ReactionLine(
                    record.target,
                    record.user,
                    None if record.reaction == NONE else _name(record.reaction, catalogue),
                    _moment(record.created_at),
                    _moment(record.updated_at) if record.updated_at != record.created_at else None,
                    record.type,
                )
            )
        case TargetRecord(registration=None):
            return _encode(
                _TargetLine("target", record.target, record.type, record.version, deleted=record.deleted)
            )
        case TargetRecord(registration=Registration() as known):
            allowed = None if known.allowed is None else _names(known.allowed, catalogue)
            about = (known.owner, known.title, known.closed, allowed)
            return _encode(_TargetLine("target", record.target, record.type, record.version, True, *about))
        case UserRecord():
            erased_at = None if record.erased_at is None else _moment(record.erased_at)
            profile = (record.name, record.avatar_url, record.locale, record.time_zone)
            return _encode(_UserLine("user", record.user, *profile, erased_at))
    raise TypeError(f"not a record: {record!r}")


def csv_line(record: ReactionRecord, catalogue: Catalogue) -> bytes:
    """The reaction as a line of CSV, in the order of `CSV_COLUMNS`. No id or name can hold a comma or a quote."""
    cells = (
        record.target,
        record.user,
        _name(record.reaction, catalogue),
        _encode(_moment(record.created_at)).decode().strip('"'),
        _encode(_moment(record.updated_at)).decode().strip('"'),
        record.type or "",
    )
    return ",".join(cells).encode()


def _read(decoder: "msgspec.json.Decoder[T]", text: bytes) -> T:
    try:
        return decoder.decode(text)
    # msgspec lets two more through: a text that is not UTF-8, and arrays nested deeper than the stack.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(error) from error


def _refusal(error: Exception) -> Invalid:
    """What msgspec found wrong, as one of `REFUSALS`."""
    if not isinstance(error, msgspec.ValidationError):
        return Invalid("invalid_json", REFUSALS["invalid_json"])
    text = str(error)
    found = _FIELD.search(text)
    field = (found[1] or found[2]) if found else None
    if text.startswith("Object missing"):
        code = "missing_field"
    elif text.startswith("Object contains unknown"):
        code = "unknown_field"
    elif field is not None and field.endswith("_at"):
        code, text = "invalid_time", "Write times in RFC 3339 with a zone: 2026-05-01T12:30:00Z."
    else:
        code = "invalid_field"
    return Invalid(code, text.partition(" - at ")[0], field=field)


def _cells(text: bytes) -> list[str]:
    """The cells of one line. A record that goes on in the next line is refused: nothing here can hold a line's end."""
    try:
        plain = text.decode()
        if '"' not in plain:
            return [cell.strip() for cell in plain.split(",")]
        [cells] = csv.reader([plain], strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise Invalid("invalid_csv", "Not CSV in UTF-8.") from error
    return [cell.strip() for cell in cells]


def _moment(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def _name(code: int, catalogue: Catalogue) -> str:
    name = catalogue.names[code] if code < len(catalogue.names) else None
    if (
        name is None or catalogue.codes.get(name) != code
    ):  # one that is configured no longer could not be read again
        raise Invalid(
            "unknown_reaction", f"The catalogue has no reaction with code {code}.", field="reaction"
        )
    return name


def _names(mask: int, catalogue: Catalogue) -> list[str]:
    return [reaction.name for reaction in catalogue.reactions if mask >> reaction.code & 1]
