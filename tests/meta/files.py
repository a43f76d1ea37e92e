"""The files of the repository as the meta tests see them."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "plaudit"


@cache
def repository_files() -> tuple[Path, ...]:
    """Every file that is in the repository or would be with the next `git add`, deleted ones left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return tuple(sorted(path for name in set(listed.split("\0")) - {""} if (path := ROOT / name).is_file()))


@cache
def text_files() -> tuple[tuple[Path, str], ...]:
    """Path and text of every repository file that is UTF-8 text."""
    found = []
    for path in repository_files():
        try:
            found.append((path, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:  # an image or another binary
            continue
    return tuple(found)


@cache
def modules() -> tuple[tuple[Path, ast.Module], ...]:
    """Path and syntax tree of every Python module of the package."""
    return tuple((path, ast.parse(path.read_bytes())) for path in sorted(SRC.rglob("*.py")))


def name(path: Path, line: int | None = None) -> str:
    """A place as an editor opens it: path from the root, and the line."""
    relative = path.relative_to(ROOT).as_posix()
    return relative if line is None else f"{relative}:{line}"


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines, from 1."""
    return enumerate(text.splitlines(), start=1)
