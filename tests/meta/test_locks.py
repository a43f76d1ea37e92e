"""The locks say what pyproject.toml asks for, and would install from any registry."""

import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.meta.files import ROOT

LOCKS = ["requirements.lock", "requirements-build.lock", "requirements-dev.lock", "requirements-cluster.lock"]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins(lock: str) -> dict[str, str]:
    found = PIN.findall((ROOT / lock).read_text(encoding="utf-8"))
    return {canonicalize_name(package): version for package, version in found}


def wanted(lock: str) -> list[Requirement]:
    whole = project()
    runtime, groups = whole["project"]["dependencies"], whole["dependency-groups"]
    build = groups["build"]
    cluster = whole["project"]["optional-dependencies"]["cluster"]
    development = [item for item in groups["dev"] if isinstance(item, str)]
    by_lock = {
        LOCKS[0]: runtime,
        LOCKS[1]: build,
        LOCKS[2]: [*runtime, *build, *cluster, *development],
        LOCKS[3]: [*runtime, *cluster],
    }
    return [Requirement(item) for item in by_lock[lock]]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_fulfils_pyproject(lock: str) -> None:
    pinned = pins(lock)
    assert [
        str(requirement)
        for requirement in wanted(lock)
        if not requirement.specifier.contains(pinned.get(canonicalize_name(requirement.name), "0"))
    ] == [], "run 'make lock'"


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock != LOCKS[2]])
def test_the_development_lock_holds_the_others(lock: str) -> None:
    assert pins(lock).items() <= pins(LOCKS[2]).items(), "run 'make lock'"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_a_hash_for_every_pin_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if PIN.match(entry)]
    assert entries
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert not re.search(r"://|^\s*--?(?:index|extra-index|find-links|i |f )", text, re.MULTILINE)


def test_the_build_system_asks_for_what_the_build_lock_pins() -> None:
    whole = project()
    assert sorted(whole["build-system"]["requires"]) == sorted(whole["dependency-groups"]["build"])
