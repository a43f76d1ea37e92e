"""What the doctor says of settings alone."""

from pathlib import Path
from typing import Any

import pytest

from plaudit.doctor import tokens
from plaudit.settings import Settings

SECRET = "a secret that is only good enough for tests"


@pytest.mark.parametrize(
    ("settings", "state", "advice"),
    [
        ({"jwks": "keys.json"}, "note", "PLAUDIT_AUDIENCE"),
        ({"jwks": "keys.json", "issuer": "https://id.example"}, "note", "PLAUDIT_AUDIENCE"),
        ({"jwks": "keys.json", "audience": "plaudit"}, "note", "PLAUDIT_ISSUER"),
        ({"jwks": "keys.json", "audience": "plaudit", "issuer": "https://id.example"}, "ok", "keys.json"),
        ({"auth_secret": SECRET}, "ok", "the secret in the settings"),
        ({"auth_secret": SECRET, "old_auth_secrets": [SECRET * 2]}, "ok", "1 old"),
    ],
)
def test_the_doctor_says_whose_tokens_are_good(
    tmp_path: Path, settings: dict[str, Any], state: str, advice: str
) -> None:
    [found] = tokens(Settings(data=tmp_path, **settings))
    assert found.state == state
    assert advice in found.detail
    assert SECRET not in found.detail


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"auth_secret": SECRET, "old_auth_secrets": ["short"]}, "auth_secret: needs at least"),
        ({"jwks": "keys.json", "old_auth_secrets": [SECRET]}, "auth_secret and jwks"),
    ],
)
def test_old_secrets_are_held_to_the_same(tmp_path: Path, settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Settings(data=tmp_path, **settings)
