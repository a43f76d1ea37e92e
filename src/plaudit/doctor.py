"""What `plaudit doctor` looks at. Everything here only reads, but for a few bytes that time the disk."""

import os
import platform
import stat
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal, NamedTuple

from plaudit.adapters.files import forbidden
from plaudit.adapters.secret import SECRET_FILE, kept_secret
from plaudit.adapters.sqlite import FILE_NAME, Inspection, inspect
from plaudit.domain.errors import PlauditError
from plaudit.settings import Settings

SAMPLE = 1_000
MAX_ROWS = 10_000
COUNT_LARGE_WITHIN_S = 10.0
LITTLE_ROOM_BYTES = 1 << 30
LONG_LOG_BYTES = 256 << 20
SLOW_SYNC_MS = 20.0
SYNCS = 20


class Finding(NamedTuple):
    """One thing that was checked."""

    check: str
    state: Literal["ok", "note", "fault"]
    detail: str


def examine(settings: Settings) -> list[Finding]:
    """Check everything, in the order in which one would look."""
    kept_out = forbidden(settings.data) or forbidden(settings.data / FILE_NAME)
    if kept_out is not None:
        return [*tokens(settings), Finding("folder", "fault", kept_out), server(settings)]
    found = inspect(settings.data, SAMPLE, MAX_ROWS, COUNT_LARGE_WITHIN_S)
    return [
        Finding("program", "ok", f"Python {platform.python_version()}, SQLite {found.sqlite}"),
        *tokens(settings),
        *_folder(settings.data, found),
        *_database(found),
        server(settings),
    ]


def tokens(settings: Settings) -> list[Finding]:
    """What tokens are verified with."""
    if settings.jwks is not None:
        verified = f"verified with the keys at {settings.jwks}"
        missing = [name for name in ("audience", "issuer") if getattr(settings, name) is None]
        if missing:
            unset = " and ".join(f"PLAUDIT_{name.upper()}" for name in missing)
            advice = f"a token of any app with the same keys is good here: set {unset}"
            return [Finding("tokens", "note", f"{verified}; {advice}")]
        return [Finding("tokens", "ok", verified)]
    if settings.auth_secret is not None:
        old = len(settings.old_auth_secrets)
        also = f" and with {old} old ones, until they are taken out" if old else ""
        return [Finding("tokens", "ok", f"verified with the secret in the settings{also}")]
    path = settings.data / SECRET_FILE
    if (kept_out := forbidden(path, os.R_OK)) is not None:
        return [Finding("tokens", "fault", kept_out)]
    if not os.path.exists(path):
        return [Finding("tokens", "note", f"no secret yet; the first start makes one in {path}")]
    try:
        kept_secret(settings.data)
    except PlauditError as error:
        return [Finding("tokens", "fault", str(error))]
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return [Finding("tokens", "fault", f"others can read {path}: chmod 600 {path}")]
    return [Finding("tokens", "ok", f"verified with the secret in {path}")]


def _folder(folder: Path, found: Inspection) -> list[Finding]:
    room = f"{found.free_bytes / (1 << 30):,.1f} GiB free"
    little = found.free_bytes < LITTLE_ROOM_BYTES
    findings = [
        Finding(
            "disk space", "fault" if little else "ok", f"{room}; a full disk refuses taps" if little else room
        )
    ]
    if not folder.exists():
        return [
            *findings,
            Finding("folder", "note", f"{folder} does not exist yet; the first start makes it"),
        ]
    if stat.S_IMODE(folder.stat().st_mode) & 0o007:
        advice = f"others can read {folder}, and who reacted to what: chmod o= {folder}"
        findings.append(Finding("privacy", "note", advice))
    try:
        median_ms = _sync_ms(folder)
    except OSError as error:
        return [*findings, Finding("folder", "fault", f"cannot write in {folder}: {error.strerror}")]
    slow = median_ms > SLOW_SYNC_MS
    advice = "; every tap waits for one, so use a faster disk" if slow else ""
    return [
        *findings,
        Finding("fsync", "note" if slow else "ok", f"{median_ms:.2f} ms (median of {SYNCS}){advice}"),
    ]


def _sync_ms(folder: Path) -> float:
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(SYNCS):
            file.write(b"\0" * 4096)
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    return sorted(times)[SYNCS // 2] * 1000


def _database(found: Inspection) -> list[Finding]:
    if not found.exists:
        return [Finding("database", "note", "not there yet; the first start makes it")]
    if found.fault is not None:
        return [
            Finding("database", "fault", f"{found.fault}; restore a backup, or use the version that wrote it")
        ]
    behind = f", to be upgraded to {found.newest_schema}" if found.schema < found.newest_schema else ""
    size = f"{found.file_bytes / (1 << 20):,.1f} MiB, schema {found.schema}{behind}, quick_check ok"
    if found.unread:
        size += f", not every line was read within {COUNT_LARGE_WITHIN_S:.0f} s"
    long = found.log_bytes > LONG_LOG_BYTES
    log = f"{found.log_bytes / (1 << 20):,.1f} MiB"
    counts = f"{found.compared:,} targets compared with their rows"
    if found.uncounted:
        counts += f", {found.uncounted:,} large ones left out for want of time"
    if found.drifted:
        counts = (
            f"{len(found.drifted)} of {counts} differ, first {found.drifted[0]}; please report this as a bug"
        )
    return [
        Finding("database", "ok", size),
        Finding(
            "log",
            "note" if long else "ok",
            f"{log}; something keeps it from being folded in" if long else log,
        ),
        Finding("counts", "fault" if found.drifted else "ok", counts),
    ]


def server(settings: Settings) -> Finding:
    """Whether a server answers at the address of the settings."""
    url = f"http://{settings.host}:{settings.port}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=2):
            return Finding("server", "ok", f"ready at {url}")
    except urllib.error.HTTPError as error:
        return Finding("server", "fault", f"{url}: {error.read(200).decode(errors='replace').strip()}")
    except OSError:
        return Finding("server", "note", f"nobody answers at {url}; fine if it is not meant to run")
