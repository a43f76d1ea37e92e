"""Transfer: reactions in from a file, everything out to one.

An import is a row of batches, each stored as a whole; whoever stops it, however hard, runs it again. It notifies
nobody. An export is of one moment. Both hold one batch in memory, whatever the size of the file.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from plaudit.domain.catalogue import NONE, Catalogue
from plaudit.domain.errors import Invalid
from plaudit.domain.merge import Tally
from plaudit.domain.transfer import (
    CSV_COLUMNS,
    REFUSALS,
    Parser,
    ReactionRecord,
    Record,
    TargetRecord,
    UserRecord,
    csv_line,
    json_line,
)
from plaudit.ports.transfer import Batch, Intake, Progress, Source
from plaudit.services.describe import check_profile, check_title

Format = Literal["jsonl", "csv"]
OnError = Literal["stop", "skip"]

RECORDS_AT_ONCE = 100_000
RECORDS_PER_LOOK = 1_000  # between two moves of the progress bar
EXAMPLES = 20


class Example(msgspec.Struct, frozen=True):
    """A line that was refused, with the reason."""

    line: int
    code: str
    message: str
    field: str | None = None


class Report(msgspec.Struct):
    """How an import went. `stored_to` is the last line that is stored together with all before it."""

    tally: Tally = msgspec.field(default_factory=Tally)
    refused: Counter[str] = msgspec.field(default_factory=Counter)
    examples: list[Example] = msgspec.field(default_factory=list)
    lines: int = 0
    stored_to: int = 0
    stopped: bool = False
    seconds: float = 0.0

    def refuse(self, line: int, error: Invalid) -> None:
        """Count a line that is not taken in."""
        self.refused[error.code] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(Example(line, error.code, error.message, error.field))


class Import:
    """One import of one file.

    `reject` gets every refused line but those that are too long. With `on_error="stop"` the first one ends the import,
    and its batch is not stored. With `dry_run`, which needs an intake that stores nothing, no line ends it.
    """

    def __init__(
        self,
        intake: Intake,
        parser: Parser,
        catalogue: Catalogue,
        *,
        file_format: Format,
        on_error: OnError = "stop",
        dry_run: bool = False,
        reject: Callable[[bytes], object] = lambda _: None,
    ) -> None:
        self._intake = intake
        self._parser = parser
        self._catalogue = catalogue
        self._format = file_format
        self._stop = on_error == "stop" and not dry_run
        self._reject = reject
        self._heading = b""  # what has to stand above the first rejected line
        self.report = Report()

    async def run(self, lines: Iterable[tuple[int, bytes | None]], look: Callable[[], None]) -> Report:
        """Take the lines in. `look` is called now and then, for a progress bar. Raises what the intake raises."""
        began = time.perf_counter()
        report, parse = self.report, self._parser.json
        numbered = iter(lines)
        if self._format == "csv":
            self._csv_header(numbered)
            parse = self._parser.csv
        batch, size, number = Batch(), 0, 0
        for number, text in numbered:
            if text == b"":
                continue
            try:
                if text is None:
                    raise Invalid("line_too_long", REFUSALS["line_too_long"])
                _put(batch, _checked(parse(text, number)))
            except Invalid as error:
                report.refuse(number, error)
                if self._stop:
                    report.stopped = True
                    break
                self._put_aside(text)
            size += 1
            if size % RECORDS_PER_LOOK == 0:
                look()
            if size == RECORDS_AT_ONCE:
                await self._store(batch, size, number)
                batch, size = Batch(), 0
                if report.stopped:
                    break
        if size and not report.stopped:
            await self._store(batch, size, number)
        look()
        report.seconds = time.perf_counter() - began
        return report

    def _csv_header(self, lines: Iterable[tuple[int, bytes | None]]) -> None:
        """Read the names of the columns. Raises `Invalid` if there are none: then no line can be understood."""
        for _, text in lines:
            self._parser.csv_header(text or b"")
            self._heading = (text or b"") + b"\n"
            return
        raise Invalid("missing_field", f"The first line names the columns: {','.join(CSV_COLUMNS)}")

    async def _store(self, batch: Batch, size: int, number: int) -> None:
        report = self.report
        found = await self._intake.store(batch, whole=self._stop)
        for code, record in found.tally.refused:
            report.refuse(record.line, Invalid(code, REFUSALS[code]))
            if not self._stop:
                self._put_aside(self._line(record))
        if self._stop and found.tally.refused:
            report.stopped = True
            return
        found.tally.refused.clear()
        report.tally.add(found.tally)
        report.lines += size
        report.stored_to = number

    def _put_aside(self, text: bytes | None) -> None:
        if text is not None:
            self._reject(self._heading + text + b"\n")
            self._heading = b""

    def _line(self, record: Record) -> bytes:
        if self._format == "csv" and isinstance(record, ReactionRecord):
            return csv_line(record, self._catalogue)
        return json_line(record, self._catalogue)


class Export:
    """One export. `unknown` counts the reactions whose code the catalogue does not know, which cannot be written."""

    def __init__(self, source: Source, catalogue: Catalogue, *, file_format: Format) -> None:
        self._source = source
        self._catalogue = catalogue
        self._csv = file_format == "csv"
        self.records = 0
        self.unknown = 0

    async def run(self, write: Callable[[bytes], object], look: Progress) -> None:
        """Write everything. `look` gets how many records are written, of about how many. Raises `Unavailable`."""
        async with self._source.records() as (total, pages):
            if self._csv:
                write(",".join(CSV_COLUMNS).encode() + b"\n")
            async for page in pages:
                lines = [line for record in page if (line := self._line(record)) is not None]
                self.records += len(lines)
                if lines:
                    write(b"\n".join(lines) + b"\n")
                look(self.records, total)
            look(self.records, self.records)

    def _line(self, record: Record) -> bytes | None:
        try:
            if not self._csv:
                return json_line(record, self._catalogue)
            if isinstance(record, ReactionRecord) and record.reaction != NONE:
                return csv_line(record, self._catalogue)
        except Invalid:
            self.unknown += 1
        return None


def _checked(record: Record) -> Record:
    """The record, once what the domain cannot check is. Raises `Invalid`."""
    if isinstance(record, UserRecord):
        check_profile(record)
    elif isinstance(record, TargetRecord) and record.registration is not None:
        check_title(record.registration.title)
    return record


def _put(batch: Batch, record: Record) -> None:
    if isinstance(record, ReactionRecord):
        reactions = batch.reactions.get(record.target)
        if reactions is None:
            batch.reactions[record.target] = [record]
        else:
            reactions.append(record)
    elif isinstance(record, TargetRecord):
        batch.targets.setdefault(record.target, []).append(record)
    else:
        batch.users.append(record)
