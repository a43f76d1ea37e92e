"""Keys and signatures: which keys are good enough, where they come from, when they are read again, what they signed.

Guarantees: a key serves exactly one algorithm, which its type decides and no token does (RFC 8725 section 3.1); weak
keys, private parts and symmetric keys from a key set are never used; the last good set stays while its source fails.
Refuses to know: HTTP, and what a signed text means.
"""

import asyncio
import logging
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, Self

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.utils import base64url_decode

from plaudit.domain.errors import Unavailable
from plaudit.ports.clock import Clock

log = logging.getLogger("plaudit.keys")

SECRET_ALGORITHM = "HS256"  # noqa: S105 - the name of an algorithm
SECRET_BYTES_MIN = 32  # RFC 7518 section 3.2: no shorter than the hash
RSA_BITS_MIN = 2048  # RFC 7518 section 3.3
RSA_BITS_MAX = 8192  # beyond it one verification takes milliseconds
SET_BYTES_MAX = 1 << 20
SET_KEYS_MAX = 100
UNNAMED_TRIES_MAX = 8  # verifications that a token without a key id may cost
RETRY_S = 10.0
TICK_S = 1.0

# Key type of RFC 7518 section 6 and RFC 8037 section 2 -> the one algorithm it serves, and the one curve.
_SERVES = {"RSA": ("RS256", None), "EC": ("ES256", "P-256"), "OKP": ("EdDSA", "Ed25519")}
SET_ALGORITHMS = frozenset(algorithm for algorithm, _ in _SERVES.values())

# Through the JWS layer only: PyJWT's checks of times and claims would ask the machine's clock.
_JWS = jwt.PyJWS(options={"verify_signature": True, "enforce_minimum_key_length": True})
_READERS: dict[str, Callable[[dict[str, str]], object]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}
_UNREADABLE = (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError)


class Key(msgspec.Struct, frozen=True):
    """One key and its one algorithm. `identity` tells keys of two readings of a set apart."""

    algorithm: str
    kid: str | None
    material: bytes | RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
    identity: tuple[str | None, ...] = ()

    def __repr__(self) -> str:
        return f"Key({self.algorithm}, kid={self.kid!r})"


class _Jwk(msgspec.Struct, frozen=True):
    """The public members of RFC 7517 section 4 and RFC 7518 section 6; `d` and its kin are dropped unread."""

    kty: str
    kid: str | None = None
    use: str | None = None
    key_ops: list[str] | None = None
    alg: str | None = None
    crv: str | None = None
    x: str | None = None
    y: str | None = None
    n: str | None = None
    e: str | None = None

    def key(self) -> Key | None:
        """The key, or None if it is for another purpose, of an unknown kind, weak or malformed."""
        algorithm, curve = _SERVES.get(self.kty, (None, None))
        if algorithm is None or self.crv != curve or self.alg not in (None, algorithm):
            return None
        if self.use not in (None, "sig") or (self.key_ops is not None and "verify" not in self.key_ops):
            return None
        members = {"kty": self.kty, "crv": self.crv, "x": self.x, "y": self.y, "n": self.n, "e": self.e}
        material = _material({name: value for name, value in members.items() if value is not None})
        if material is None:
            return None
        return Key(algorithm, self.kid, material, (self.kid, *members.values()))


class _JwkSet(msgspec.Struct, frozen=True):
    keys: list[msgspec.Raw]


def _material(jwk: dict[str, str]) -> RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | None:
    try:
        key = _READERS[jwk["kty"]](jwk)
    except _UNREADABLE:
        return None
    if isinstance(key, RSAPublicKey):
        return key if RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX else None
    return key if isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey) else None


def secret_key(secret: str) -> Key:
    """The HS256 key of a shared secret.

    Raises `ValueError` if it is shorter than 32 bytes (RFC 7518 section 3.2), or is really a public key or a JWK: who
    knows a public key could then sign with it (RFC 8725 section 2.1).
    """
    try:
        material = HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except jwt.PyJWTError as error:
        raise ValueError("secret: must be a random text, not empty and not a key file") from error
    if len(material) < SECRET_BYTES_MIN:
        raise ValueError(f"secret: must have at least {SECRET_BYTES_MIN} bytes")
    return Key(SECRET_ALGORITHM, None, material)


def parse_key_set(document: bytes) -> tuple[Key, ...]:
    """The usable keys of a JWK Set (RFC 7517 section 5); keys it cannot use are left out, as the RFC asks.

    Raises `Unavailable` if the document is not a JWK Set at all.
    """
    if len(document) > SET_BYTES_MAX:
        raise Unavailable(f"key set: larger than {SET_BYTES_MAX} bytes")
    try:
        entries = msgspec.json.decode(document, type=_JwkSet).keys
    except (ValueError, RecursionError) as error:
        raise Unavailable("key set: not a JWK Set (RFC 7517)") from error
    if len(entries) > SET_KEYS_MAX:
        raise Unavailable(f"key set: more than {SET_KEYS_MAX} keys")
    keys = []
    for number, entry in enumerate(entries):
        try:
            key = msgspec.json.decode(entry, type=_Jwk).key()
        except (ValueError, RecursionError):
            key = None
        if key is None:
            log.info(
                "key set: left out key number %d: other purpose, unknown kind, weak or malformed", number
            )
        else:
            keys.append(key)
    return tuple(keys)


class Header(msgspec.Struct, frozen=True):
    """The members of a JOSE header that are looked at; `jwk`, `jku` and `x5u` never are (RFC 8725 section 3.10)."""

    alg: str
    kid: str | None = None
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def read_header(token: bytes) -> Header | None:
    """The unverified header of a compact JWS, good for nothing but choosing among our keys.

    None if it cannot be read or names extensions, none of which we understand (RFC 7515 section 4.1.11).
    """
    try:
        header = msgspec.json.decode(base64url_decode(token.partition(b".")[0]), type=Header)
    except (ValueError, RecursionError):
        return None
    return header if header.crit is msgspec.UNSET else None


def verify(token: bytes, keys: Iterable[Key]) -> bytes | None:
    """The payload of a compact JWS (RFC 7515 section 5.2) that one of the keys signed, else None."""
    for key in keys:
        try:
            payload: bytes = _JWS.decode(token, key.material, algorithms=[key.algorithm])
        except _UNREADABLE:
            continue
        return payload
    return None


def sign(payload: bytes, key: Key) -> str:
    """The compact JWS of a payload. `key` is a `secret_key`, the only kind we hold that can sign."""
    if not isinstance(key.material, bytes):
        raise TypeError("only a shared secret signs")
    return _JWS.encode(payload, key.material, key.algorithm)


class KeySource(Protocol):
    """Where a JWK Set is read from."""

    period_s: float
    """How long a reading counts as fresh."""
    renewal_gap_s: float
    """The least time between two readings that unknown keys caused."""
    required: bool
    """Whether it must be readable at start; otherwise start-up goes on and reading is tried again."""

    async def read(self) -> bytes | None:
        """The document, or None if it has not changed since the last call. Raises `Unavailable`."""


class FileSource:
    """A JWK Set in a local file. It is read again when its inode, size or modification time changed."""

    period_s = 5.0
    renewal_gap_s = 5.0
    required = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    async def read(self) -> bytes | None:
        try:
            return await asyncio.to_thread(self._read)
        except OSError as error:
            self._seen = None
            raise Unavailable(f"jwks: the file cannot be read: {error.strerror}") from error

    def _read(self) -> bytes | None:
        with self._path.open("rb") as file:
            # Before the content: a change while reading shows as another signature at the next call.
            stat = os.fstat(file.fileno())
            seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if seen == self._seen:
                return None
            document = file.read(SET_BYTES_MAX + 1)
        self._seen = seen
        return document


class KeyRing:
    """The current keys of one source, kept fresh between `async with` and its end.

    `removed` is called at once, with no await between, when a key has left the set.
    """

    def __init__(self, source: KeySource, clock: Clock, *, removed: Callable[[], None]) -> None:
        self._source = source
        self._clock = clock
        self._removed = removed
        self._keys: tuple[Key, ...] = ()
        self._flight: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._failure: Unavailable | None = None
        self._due_s = -math.inf
        self._renewable_s = -math.inf
        self._read_s = clock.monotonic_s()
        self.loaded = False
        """Whether a key set has ever been read."""

    async def __aenter__(self) -> Self:
        """Raises `Unavailable` if a required source cannot be read or holds no usable key."""
        await self.refresh()
        if self._source.required and self._failure is not None:
            raise self._failure
        if self._source.required and not self._keys:
            raise Unavailable("jwks: the key set holds no usable key")
        self._watch = asyncio.create_task(self._keep_fresh())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [task for task in (self._watch, self._flight) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def age_s(self) -> float:
        """How long ago the source was last read, or if it never was, since when it is tried."""
        return self._clock.monotonic_s() - self._read_s

    def find(self, algorithm: str, kid: str | None) -> tuple[Key, ...]:
        """The keys that may have signed a token; without a key id all of the algorithm, unless too many."""
        fitting = tuple(key for key in self._keys if key.algorithm == algorithm)
        if kid is not None:
            return tuple(key for key in fitting if key.kid == kid)
        return fitting if len(fitting) <= UNNAMED_TRIES_MAX else ()

    async def renew(self) -> None:
        """Read the source because a token named an unknown key; made-up key ids cannot cause more than one per gap."""
        if self._flight is None:
            now_s = self._clock.monotonic_s()
            if now_s < self._renewable_s:
                return
            self._renewable_s = now_s + self._source.renewal_gap_s
        await self.refresh()

    async def refresh_if_due(self) -> None:
        """Read the source if the last reading is older than its period, or failed a while ago."""
        if self._clock.monotonic_s() >= self._due_s:
            await self.refresh()

    async def refresh(self) -> None:
        """Read the source, or wait for the reading under way. A failure is logged and the old keys stay."""
        if self._flight is None:
            self._flight = asyncio.create_task(self._read())
        # wait() and not await: who waits may be cancelled without taking the reading away from the others.
        await asyncio.wait({self._flight})

    async def _read(self) -> None:
        delay_s = self._source.period_s
        try:
            document = await self._source.read()
            if document is not None:
                self._replace(parse_key_set(document))
            self._failure = None
            self._read_s = self._clock.monotonic_s()
        except Unavailable as error:
            self._failure = error
            delay_s = min(RETRY_S, delay_s)
            log.warning("%s; %d earlier keys stay", error, len(self._keys))
        finally:
            self._due_s = self._clock.monotonic_s() + delay_s
            self._flight = None

    def _replace(self, keys: tuple[Key, ...]) -> None:
        gone = {key.identity for key in self._keys} - {key.identity for key in keys}
        self._keys, self.loaded = keys, True
        if not keys:
            log.warning("key set: no usable key; every token that needs one is refused")
        if gone:
            self._removed()

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self.refresh_if_due()
