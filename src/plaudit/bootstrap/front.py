"""Builds what both profiles have in common: everything between the socket and the ports."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from plaudit.domain.catalogue import DEFAULT_TYPE, Catalogue
from plaudit.domain.errors import Invalid
from plaudit.http.app import App, Asgi, with_cors
from plaudit.http.auth import AuthConfig, Authenticator, issue
from plaudit.http.catalogue import catalogue_call
from plaudit.http.demo import Routes, demo_pages, no_demo_pages
from plaudit.http.gate import Gate
from plaudit.http.hot import CountsCall, TapCall
from plaudit.http.me import Me
from plaudit.http.pages import pages
from plaudit.http.ratelimit import RateLimiter
from plaudit.http.routes import Api, starlette_app
from plaudit.http.server import connections_possible
from plaudit.http.stream import Holders, StreamCall
from plaudit.ports.clock import Clock
from plaudit.ports.directory import Directory
from plaudit.ports.lists import OwnState, Reactors
from plaudit.ports.notifications import Audience, Inbox
from plaudit.ports.transfer import Intake
from plaudit.services.cursor import Cursors
from plaudit.services.demo import GRANT, Demo
from plaudit.services.describe import Describe
from plaudit.services.near import NearCache
from plaudit.services.owner import Owner
from plaudit.services.react import Commits, React
from plaudit.services.read import Read
from plaudit.services.remove import Remove
from plaudit.services.stream import Streams
from plaudit.services.viral import Viral
from plaudit.services.wording import Wording
from plaudit.settings import Settings
from plaudit.telemetry import Metrics

log = logging.getLogger("plaudit")


class Service(NamedTuple):
    """A running service: its application, and how to stop it gently."""

    app: Asgi
    drain: Callable[[], Awaitable[None]]


class Back(NamedTuple):
    """What a profile brings, ready to be used. `writable` is why no tap can be stored now, None while it can."""

    commits: Commits
    near: NearCache
    own: OwnState
    reactors: Reactors
    directory: Directory
    remove: Remove
    inbox: Inbox
    audience: Audience
    wording: Wording
    intake: Intake
    writable: Callable[[], str | None]


@asynccontextmanager
async def front(
    settings: Settings, back: Back, catalogue: Catalogue, clock: Clock, metrics: Metrics
) -> AsyncIterator[Service]:
    """The service over what a profile brings. Raises `Invalid` with the name of a setting that cannot work."""
    secret = settings.secret()
    near, directory = back.near, back.directory
    async with AsyncExitStack() as stack:
        react = React(back.commits, catalogue)
        given = settings.cursor_secret
        signing = given.get_secret_value() if given else secret or settings.kept_secret()
        old = [each.get_secret_value().encode() for each in settings.old_auth_secrets]
        cursors = Cursors(signing.encode(), old)
        read = Read(near, back.own, back.reactors, directory, catalogue, cursors)
        authenticator = await stack.enter_async_context(_authenticator(settings, secret, clock))
        limiter = RateLimiter(
            clock.monotonic_s, per_s=settings.rate_limit_per_s, burst=settings.rate_limit_burst
        )
        gate = Gate(authenticator, limiter)
        max_streams = min(settings.max_streams, connections_possible(settings.max_connections) * 3 // 4)
        streams = await stack.enter_async_context(Streams(near, clock, metrics, max_streams=max_streams))
        holders = Holders(settings.max_streams_per_user, settings.max_streams_per_address)
        stream = StreamCall(gate, near, read, streams, clock, metrics, holders)
        describe = Describe(directory, near, catalogue)
        viral = Viral(react, back.intake, clock, catalogue.given(DEFAULT_TYPE))
        stack.push_async_callback(viral.stop)
        demo = await _demo(settings, secret, clock, Demo(describe, react, read, clock), viral)

        def ready() -> str | None:
            return "stopping" if react.stopping else back.writable()

        shown = pages(catalogue, metrics, ready, settings.user_claim)
        more = [*catalogue_call(catalogue, metrics), *shown, *demo]
        metrics.gauge("plaudit_taps_waiting", lambda: back.commits.waiting)
        metrics.gauge("plaudit_near_cache_entries", lambda: len(near))
        metrics.gauge("plaudit_stream_listeners", lambda: len(streams))
        metrics.gauge("plaudit_jwks_age_seconds", lambda: authenticator.keys_age_s)
        metrics.gauge("plaudit_writable", lambda: float(back.writable() is None))
        owner = Owner(back.inbox, back.audience, directory, catalogue, cursors, back.wording, clock)
        api = starlette_app([Api(gate, read, back.remove, describe), Me(gate, owner)], more, metrics)
        app = App(TapCall(gate, react, metrics), CountsCall(gate, near, read, metrics), stream, api)

        async def drain() -> None:
            streams.stop()
            await viral.stop()
            await react.stop()

        yield Service(with_cors(app, settings.cors_origins), drain)


def _authenticator(settings: Settings, secret: str | None, clock: Clock) -> Authenticator:
    """Raises `Invalid` for settings that are each possible, and cannot work."""
    if settings.jwks is not None and settings.audience is None:
        log.warning(
            "a token of any app with the keys at %s is good here: set PLAUDIT_AUDIENCE", settings.jwks
        )
    config = AuthConfig(
        secret=secret,
        old_secrets=tuple(each.get_secret_value() for each in settings.old_auth_secrets),
        jwks=settings.jwks,
        audience=settings.audience,
        issuer=settings.issuer,
        user_claim=settings.user_claim,
    )
    try:
        return Authenticator(config, clock)
    except ValueError as error:
        raise Invalid("invalid_setting", str(error)) from error


async def _demo(settings: Settings, secret: str | None, clock: Clock, demo: Demo, viral: Viral) -> Routes:
    """The demo page, made ready; where it is off, pages that say so."""
    if not settings.demo or secret is None:
        return no_demo_pages()
    if not settings.only_local:
        log.warning("the demo page is on: whoever reaches %s can act as a demo user", settings.host)

    def mint(user: str, ttl_s: int) -> str:
        return issue(
            secret,
            user=user,
            service=False,
            grants=[GRANT],
            ttl_s=ttl_s,
            now_s=clock.now_us() // 1_000_000,
            audience=settings.audience,
            issuer=settings.issuer,
            user_claim=settings.user_claim,
        )

    return demo_pages(await demo.prepare(), mint, viral)
