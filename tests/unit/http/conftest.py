"""A clock that stands still, an authenticator that takes every kind of key, and a server of keys."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from plaudit.http.auth import AuthConfig, Authenticator
from tests.unit.http.signing import SECRET, FakeClock, KeyServer, b64, jwk, key_server, key_set, private
from tests.unit.http.tokens import EC, ED, RSA


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def both(clock: FakeClock, tmp_path: Path) -> AsyncIterator[Authenticator]:
    """Takes HS256 and a key set at once: the widest door there is."""
    path = tmp_path / "keys.json"
    path.write_bytes(
        key_set(
            jwk(RSA, "rsa"), jwk(EC, "ec"), jwk(ED, "ed"), jwk(private("P-384"), "p384"),
            jwk(private("secp256k1"), "k1"), jwk(private("RSA-1024"), "weak"), jwk(private("Ed448"), "ed448"),
            {"kty": "oct", "kid": "oct", "k": b64(b"s" * 32).decode()},
        )
    )  # fmt: skip
    async with Authenticator(AuthConfig(secret=SECRET, jwks=str(path)), clock) as authenticator:
        yield authenticator


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with key_server() as server:
        yield server
