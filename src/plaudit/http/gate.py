"""The gate: who is asking, for whom, and not too often."""

from plaudit.domain import ids
from plaudit.domain.errors import Invalid
from plaudit.domain.principal import Principal
from plaudit.http.auth import Authenticator, Denied
from plaudit.http.problems import RateLimited
from plaudit.http.ratelimit import RateLimiter


class Gate:
    """Tokens, acting users and the rate limit, in one place for all calls."""

    def __init__(self, authenticator: Authenticator, limiter: RateLimiter) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self.cached = authenticator.cached

    async def principal(self, authorization: bytes | None) -> Principal:
        """Who sent this token. Raises `Denied`."""
        if authorization is not None:
            known = self._authenticator.cached(authorization)
            if known is not None:
                return known
        return await self._authenticator.authenticate(authorization)

    async def maybe(self, authorization: bytes | None) -> Principal | None:
        """Who sent this token; None where there is none."""
        return None if authorization is None else await self.principal(authorization)

    async def service(self, authorization: bytes | None) -> Principal:
        """The host app. Raises `Denied` for anybody else."""
        who = await self.principal(authorization)
        if not who.service:
            raise Denied("scope_missing", "This call needs a token with the scope 'service'.", status=403)
        return who

    def acting(self, who: Principal, plaudit_user: bytes | None) -> str:
        """The user this request is for. Raises `Denied` or `Invalid`."""
        user = self.maybe_acting(who, plaudit_user)
        if user is None:
            raise Invalid(
                "missing_parameter", "Name the user you act for: Plaudit-User.", field="Plaudit-User"
            )
        return user

    def maybe_acting(self, who: Principal, plaudit_user: bytes | None) -> str | None:
        """As `acting`, but None for a service token that names nobody."""
        if plaudit_user is None:
            return who.user
        if not who.service:
            raise Denied("scope_missing", "Plaudit-User is for tokens with the scope 'service'.", status=403)
        return ids.user_id(plaudit_user.decode("latin-1"), "Plaudit-User")

    def limit(self, who: Principal, user: str) -> None:
        """Take one tap from the user's allowance; the host app has no limit. Raises `RateLimited`."""
        if not who.service and (wait_s := self._limiter.take(user)) > 0:
            raise RateLimited(wait_s)
