"""Who is calling: turns an `Authorization` header into a `Principal`, or refuses with `Denied`.

Guarantees: every token has an end, which our clock decides; a token seen before costs one dict lookup, and nothing
that ended or was signed by a withdrawn key is answered from there. No part of a token is ever logged or echoed.
Refuses to know: which keys are good enough (`keys`), what a principal may do, and where the configuration comes from.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from plaudit.domain.errors import Invalid, PlauditError, Unavailable
from plaudit.domain.ids import user_id
from plaudit.domain.principal import Principal
from plaudit.http.keys import (
    SECRET_ALGORITHM,
    SET_ALGORITHMS,
    FileSource,
    Header,
    Key,
    KeyRing,
    KeySource,
    read_header,
    secret_key,
    sign,
    verify,
)
from plaudit.ports.clock import Clock

HEADER_BYTES_MAX = 8192
GRANTS_MAX = 1000
LEEWAY_MAX_S = 300  # RFC 7519 section 4.1.4: "usually no more than a few minutes"
EXPIRY_MAX_S = 253_402_300_799  # the end of the year 9999, the last moment that RFC 3339 can write
CACHED_TOKEN_BYTES = 1024  # the mean token that the cache's memory is budgeted for

# RFC 6750 section 2.1 with the compact form of RFC 7515 section 7.1: no padding, no unsigned token, no JWE.
_BEARER = re.compile(rb"(?i:bearer) +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)\Z")
_OTHER_SCHEME = re.compile(rb"(?!(?i:bearer) +[^ ])")
_RESERVED_CLAIMS = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti", "scope", "targets"})

_MISSING = "This call needs a token: Authorization: Bearer <token>."
_UNKNOWN_KEY = "The token is signed with an unknown key."

DeniedCode = Literal["token_missing", "token_invalid", "token_expired", "scope_missing"]


class AuthConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What tokens must look like. At least one of `secret` and `jwks` is needed."""

    secret: str | None = None
    """Shared HS256 secret of at least 32 bytes."""
    old_secrets: tuple[str, ...] = ()
    """Those it replaced: what they signed is good until it ends, or they are taken out."""
    jwks: str | None = None
    """JWK Set (RFC 7517) with RSA, P-256 or Ed25519 keys: a file path or an http(s) URL."""
    audience: str | None = None
    issuer: str | None = None
    user_claim: str = "sub"
    leeway_s: int = 10
    """How far the issuer's clock may be from ours; enough for hosts kept by NTP."""
    cache_entries: int = 100_000

    def __repr__(self) -> str:
        return f"AuthConfig(jwks={self.jwks is not None}, audience={self.audience!r}, issuer={self.issuer!r})"


class Denied(PlauditError):
    """The caller is not let in: 401, or 403 if the token is good but does not reach that far."""

    def __init__(self, code: DeniedCode, message: str, *, status: Literal[401, 403] = 401) -> None:
        """`message` may hold neither `"` nor backslash (RFC 6750 section 3), and nothing of the token."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status

    @property
    def challenge(self) -> str:
        """The value of `WWW-Authenticate` (RFC 6750 section 3); without a token it names no error (section 3.1)."""
        if self.code == "token_missing":
            return 'Bearer realm="plaudit"'
        if self.code == "scope_missing":
            return f'Bearer error="insufficient_scope", error_description="{self.message}", scope="service"'
        return f'Bearer error="invalid_token", error_description="{self.message}"'


class Authenticator:
    """Verifies tokens (RFC 7519, RFC 8725) and remembers the good ones until they end.

    With `jwks`, use it as an async context manager: it reads the keys at start and keeps them fresh. Entering raises
    `Unavailable` if a key file cannot be read; an unreachable URL is tried again instead.
    Raises `ValueError`, starting with the name of the field, for a configuration that cannot work.
    """

    def __init__(self, config: AuthConfig, clock: Clock) -> None:
        _check_config(config)
        self._config = config
        self._clock = clock
        self._algorithms = _algorithms(config)
        secrets = () if config.secret is None else (config.secret, *config.old_secrets)
        self._secrets = tuple(secret_key(secret) for secret in secrets)
        self._ring: KeyRing | None = None
        if config.jwks is not None:
            self._ring = KeyRing(_source(config.jwks), clock, removed=self._forget_all)
        self._lifetime = AsyncExitStack()
        # Ordered, because taking the oldest out of a plain dict gets slower with each one taken.
        self._cache: OrderedDict[bytes, Principal] = OrderedDict()
        self._cached_bytes = 0

    async def __aenter__(self) -> Self:
        if self._ring is not None:
            await self._lifetime.enter_async_context(self._ring)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._lifetime.aclose()

    @property
    def keys_age_s(self) -> float:
        """How long ago the key set was last read; 0 without one."""
        return 0.0 if self._ring is None else self._ring.age_s

    def cached(self, authorization: bytes) -> Principal | None:
        """Who sent this raw header value before, while the token lasts; None sends the caller to `authenticate`."""
        principal = self._cache.get(authorization)
        if principal is None or self._clock.now_us() < principal.expires_at * 1e6:
            return principal
        self._forget(authorization)
        return None

    async def authenticate(self, authorization: bytes | None) -> Principal:
        """Who sent this raw header value.

        `Principal.expires_at` is when the token stops being accepted: `exp` plus the leeway.
        Raises `Denied`, or `Unavailable` if the keys that the token needs have never been readable.
        """
        if not authorization:
            raise Denied("token_missing", _MISSING)
        if (known := self.cached(authorization)) is not None:
            return known
        token = _bearer(authorization)
        header = read_header(token)
        if header is None:
            raise Denied("token_invalid", "The token's header cannot be read.")
        keys = await self._keys_for(header)
        # No await from here on: keys that are withdrawn meanwhile would leave their token in the cache.
        principal = self._principal(_claims(verify(token, keys)))
        # Further spaces would be endless names for one token.
        if len(authorization) == len("Bearer ") + len(token):
            self._remember(authorization, principal)
        return principal

    async def _keys_for(self, header: Header) -> tuple[Key, ...]:
        if header.alg not in self._algorithms:
            raise Denied("token_invalid", "The token's algorithm is not accepted.")
        if header.alg == SECRET_ALGORITHM and self._secrets:
            return self._secrets
        if self._ring is None:
            raise Denied("token_invalid", _UNKNOWN_KEY)
        keys = self._ring.find(header.alg, header.kid)
        if not keys:
            await self._ring.renew()
            keys = self._ring.find(header.alg, header.kid)
        if not keys and not self._ring.loaded:
            raise Unavailable("The keys that tokens are verified with cannot be read at the moment.")
        if not keys:
            raise Denied("token_invalid", _UNKNOWN_KEY)
        return keys

    def _principal(self, claims: dict[str, Any]) -> Principal:
        config, now_s = self._config, self._clock.now_us() / 1e6
        ends_s = min(_date(claims, "exp"), EXPIRY_MAX_S) + config.leeway_s
        if now_s >= ends_s:
            raise Denied("token_expired", "The token has expired.")
        if "nbf" in claims and now_s < _date(claims, "nbf") - config.leeway_s:
            raise Denied("token_invalid", "The token is not valid yet.")
        if config.issuer is not None and claims.get("iss") != config.issuer:
            raise Denied("token_invalid", "The token comes from another issuer.")
        if config.audience is not None:
            audience = claims.get("aud")
            if config.audience not in (audience if isinstance(audience, list) else [audience]):
                raise Denied("token_invalid", "The token is for another audience.")
        scope = claims.get("scope")
        service = "service" in _texts(scope.split(" ") if isinstance(scope, str) else scope, "scope")
        user = _user(claims.get(config.user_claim))
        if user is None and not service:
            raise Denied("token_invalid", "The token names no user.")
        grants = _texts(claims.get("targets"), "targets")
        if len(grants) > GRANTS_MAX:
            raise Denied("token_invalid", f"The token lists more than {GRANTS_MAX} targets.")
        return Principal(user, service, grants, float(ends_s))

    def _remember(self, authorization: bytes, principal: Principal) -> None:
        self._forget(authorization)
        self._cache[authorization] = principal
        self._cached_bytes += len(authorization)
        entries_max = self._config.cache_entries
        while len(self._cache) > entries_max or self._cached_bytes > entries_max * CACHED_TOKEN_BYTES:
            oldest, _ = self._cache.popitem(last=False)
            self._cached_bytes -= len(oldest)

    def _forget(self, authorization: bytes) -> None:
        if self._cache.pop(authorization, None) is not None:
            self._cached_bytes -= len(authorization)

    def _forget_all(self) -> None:
        self._cache = OrderedDict()
        self._cached_bytes = 0


def issue(
    secret: str,
    *,
    user: str | None,
    service: bool,
    grants: Sequence[str],
    ttl_s: int,
    now_s: int,
    audience: str | None = None,
    issuer: str | None = None,
    user_claim: str = "sub",
) -> str:
    """A token that an `Authenticator` with the same secret accepts from now on for `ttl_s` seconds.

    Raises `Invalid` for a bad user id and `ValueError` for anything else that `authenticate` would refuse.
    """
    _check_user_claim(user_claim)
    if user is None and not service:
        raise ValueError("user: only a service token may be without one")
    if ttl_s <= 0:
        raise ValueError("ttl_s: must be positive")
    if len(grants) > GRANTS_MAX:
        raise ValueError(f"grants: at most {GRANTS_MAX}")
    claims = {
        user_claim: None if user is None else user_id(user),
        "scope": "service" if service else None,
        "targets": list(grants) or None,
        "aud": audience,
        "iss": issuer,
        "iat": now_s,
        "exp": now_s + ttl_s,
    }
    payload = msgspec.json.encode({name: value for name, value in claims.items() if value is not None})
    token = sign(payload, secret_key(secret))
    if len("Bearer ") + len(token) > HEADER_BYTES_MAX:
        raise ValueError(f"grants: the token would not fit into a header of {HEADER_BYTES_MAX} bytes")
    return token


def _check_config(config: AuthConfig) -> None:
    if config.secret is None and config.jwks is None:
        raise ValueError("secret: either a secret or jwks is needed to verify tokens")
    if not 0 <= config.leeway_s <= LEEWAY_MAX_S:
        raise ValueError(f"leeway_s: must be 0 to {LEEWAY_MAX_S}")
    if config.cache_entries < 1:
        raise ValueError("cache_entries: must be positive")
    _check_user_claim(config.user_claim)


def _check_user_claim(user_claim: str) -> None:
    if not user_claim or user_claim in _RESERVED_CLAIMS:
        raise ValueError(f"user_claim: {user_claim!r} has another meaning")


def _algorithms(config: AuthConfig) -> frozenset[str]:
    """Those that the configured keys serve."""
    of_secret = {SECRET_ALGORITHM} if config.secret is not None else set()
    return frozenset(of_secret | SET_ALGORITHMS if config.jwks is not None else of_secret)


def _source(jwks: str) -> KeySource:
    scheme, separator, _ = jwks.partition("://")
    if not separator:
        return FileSource(Path(jwks))
    if scheme.lower() not in ("http", "https"):
        raise ValueError("jwks: must be a file path or an http(s) URL")
    from plaudit.http.key_url import (
        UrlSource,  # a fifth of the time to start, for those who have keys behind a URL
    )

    return UrlSource(jwks)


def _bearer(authorization: bytes) -> bytes:
    if len(authorization) > HEADER_BYTES_MAX:
        raise Denied("token_invalid", f"The Authorization header is longer than {HEADER_BYTES_MAX} bytes.")
    match = _BEARER.match(authorization)
    if match is not None:
        return match[1]
    if _OTHER_SCHEME.match(authorization):
        raise Denied("token_missing", _MISSING)
    raise Denied("token_invalid", "The token is not a signed JWT.")


def _claims(payload: bytes | None) -> dict[str, Any]:
    if payload is None:
        raise Denied("token_invalid", "The token's signature is wrong.")
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        raise Denied("token_invalid", "The token's claims cannot be read.") from error


def _date(claims: dict[str, Any], name: Literal["exp", "nbf"]) -> float:
    """A NumericDate in epoch seconds (RFC 7519 section 2)."""
    value = claims.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise Denied("token_invalid", f"The token's claim {name} is missing or not a number.")


def _texts(value: object, name: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise Denied("token_invalid", f"The token's claim {name} is malformed.")


def _user(value: object) -> str | None:
    if value is None:
        return None
    try:
        return user_id(value)
    except Invalid as error:
        raise Denied("token_invalid", "The token's user id is not one.") from error
