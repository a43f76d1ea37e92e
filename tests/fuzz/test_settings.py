"""Any environment and any plaudit.toml: the process takes it, or stops with a line that names what is wrong."""

import json
import os
from contextlib import chdir
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import typer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from plaudit.bootstrap.embedded import embedded
from plaudit.cli import Exit, load_settings
from plaudit.domain.errors import Invalid
from plaudit.settings import Settings
from tests.fuzz.test_parsers import json_values

bounded = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

environment = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
entries = st.lists(
    st.dictionaries(
        st.sampled_from(["code", "name", "emoji", "label", "retired", "access", "reactions", "x"]),
        json_values | st.integers(0, 16) | st.sampled_from(["like", "post", "open", "granted", ["like"]]),
    ),
    max_size=3,
)


def loaded(variables: dict[str, str], folder: Path) -> Settings | None:
    """The settings, or None if the process would stop with a line that names what is wrong."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PLAUDIT_")}
    with patch.dict(os.environ, {**ours, **variables}, clear=True), chdir(folder):
        try:
            return load_settings()
        except typer.Exit as error:
            stopped = error
    assert stopped.exit_code == Exit.USAGE
    return None


@bounded
@given(
    name=st.sampled_from(sorted(Settings.model_fields)),
    value=environment | st.sampled_from(["nan", "inf", "[[", "[/]"]),
)
def test_any_value_of_any_setting_is_taken_or_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    taken = loaded({f"PLAUDIT_{name.upper()}": value}, tmp_path)
    if taken is None:
        assert name in capsys.readouterr().err.lower()


@bounded
@given(st.sampled_from(["reactions", "types"]), entries)
def test_any_catalogue_is_whole_or_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, value: Any
) -> None:
    taken = loaded({f"PLAUDIT_{name.upper()}": json.dumps(value)}, tmp_path)
    if taken is None:
        assert name in capsys.readouterr().err.lower()
        return
    catalogue = taken.catalogue()
    assert all(
        1 <= reaction.code <= 15 and isinstance(reaction.retired, bool) for reaction in catalogue.reactions
    )
    assert all(type_.access in {"open", "granted"} for type_ in catalogue.types.values())
    assert catalogue.allowed("post", None) >= 0


@bounded
@given(st.text(max_size=60).map(lambda text: text.encode(errors="replace")) | st.binary(max_size=30))
@example(b'data = "\\u0000"')
@example(b'host = "\\u0000"')
@example(b"port = ")
@example(b'types = [{name = "post", reactions = ["like", 1]}]')
def test_any_file_of_settings_is_taken_or_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plaudit.toml").write_bytes(content)
    loaded({}, tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user_claim", "iss"),
        ("user_claim", ""),
        ("jwks", "ftp://example.org/keys"),
        ("jwks", "https://"),
        ("auth_secret", "-----BEGIN PUBLIC KEY-----\n" + "a" * 40 + "\n-----END PUBLIC KEY-----"),
    ],
)
async def test_what_is_only_seen_when_it_is_put_together_is_named_too(
    tmp_path: Path, name: str, value: str
) -> None:
    chosen: dict[str, Any] = {"data": tmp_path, name: value}
    with pytest.raises(Invalid) as refusal:
        await embedded(Settings(**chosen)).__aenter__()
    assert refusal.value.message.split(":")[0] in name
