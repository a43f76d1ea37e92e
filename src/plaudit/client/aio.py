"""The client for asyncio. Its rules are in `talk`, its calls in `calls`; here is what waits."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from copy import copy
from inspect import isawaitable
from types import EllipsisType, TracebackType
from typing import Any, Self, TypeVar

import httpx

from plaudit.client import calls
from plaudit.client.blocking import final
from plaudit.client.calls import Call
from plaudit.client.errors import PlauditError
from plaudit.client.events import BACK_S, SILENT_S, Events
from plaudit.client.models import (
    Catalogue,
    Counts,
    Job,
    Profile,
    Reacted,
    Reactor,
    Registration,
    Tap,
    Target,
)
from plaudit.client.routes import Routes
from plaudit.client.talk import (
    Answer,
    AskToken,
    Pause,
    Retries,
    Send,
    base,
    lasting,
    problem,
    talk,
    usable,
)

T = TypeVar("T")
AsyncToken = str | Callable[[bool], str | Awaitable[str]] | None
"""A token, or what gives one: called with True where the last one was refused. None: only what is public."""


class AsyncClient:
    """Plaudit at an address, for one token. Lives on one event loop.

    Raises `ValueError` for an address that is not http(s), and for a token that cannot be one.

    `timeout_s` is for each attempt, and for a token function that is awaited: nobody can interrupt one that blocks.
    `http` is an httpx client of your own, which stays yours to close.
    """

    def __init__(
        self,
        url: str,
        token: AsyncToken = None,
        *,
        timeout_s: float = 10.0,
        retries: Retries | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._url = base(url)
        self._token = lasting(token) if isinstance(token, str) else token
        self._known: str | None = None
        self._renewing: asyncio.Task[str | None] | None = None
        self._awaiting = 0
        self._timeout_s = timeout_s
        self._retries = retries or Retries()
        self._routes = Routes()
        self._own = http is None
        self._http = http or httpx.AsyncClient()
        self._wanted: dict[str, asyncio.Future[Counts]] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._own:
            await self._http.aclose()

    async def set(
        self,
        target: str,
        reaction: str | None,
        *,
        type: str | None = None,
        user: str | None = None,
        key: str | None = None,
    ) -> Tap:
        """Give this reaction, or take any back with None; the same again changes nothing.

        `type` is for targets that nobody registered. `user`: for whom, with the host app's token. `key`: of an earlier
        call whose outcome is unknown (`PlauditError.key`).
        """
        return await self._do(calls.tap("PUT", target, reaction, type, user, key))

    async def toggle(
        self,
        target: str,
        reaction: str,
        *,
        type: str | None = None,
        user: str | None = None,
        key: str | None = None,
    ) -> Tap:
        """Give this reaction, switch to it, or take it back if it is there. Arguments as for `set`."""
        return await self._do(calls.tap("POST", target, reaction, type, user, key))

    async def remove(self, target: str, *, user: str | None = None, key: str | None = None) -> Tap:
        """Take any reaction back, on closed targets too. Arguments as for `set`."""
        return await self._do(calls.tap("DELETE", target, None, None, user, key))

    async def counts(self, targets: Iterable[str]) -> dict[str, Counts]:
        """Counts by target, of any number of targets: a hundred in each call."""
        found: dict[str, Counts] = {}
        for some in calls.hundreds(targets):
            part = await self._do(calls.counts(some))
            found |= part
        return found

    async def count(self, target: str) -> Counts:
        """Counts of one target. Whoever asks in the same turn of the loop shares one call for up to a hundred.

        A target that is refused is so for those who asked for it; the others are asked for again, at most twice.
        """
        calls.joined([target])  # what cannot be asked for fails here, for this caller alone
        future = self._wanted.get(target)
        if future is None:
            loop = asyncio.get_running_loop()
            if not self._wanted:
                loop.call_soon(self._ask)
            future = self._wanted[target] = loop.create_future()
        try:
            return await asyncio.shield(future)
        except PlauditError as error:
            raise copy(error) from error  # others share the failure, and each may change what it catches

    def _ask(self) -> None:
        wanted, self._wanted = self._wanted, {}
        for some in calls.hundreds(wanted):
            task = asyncio.create_task(self._share({target: wanted[target] for target in some}))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _share(self, wanted: dict[str, asyncio.Future[Counts]]) -> None:
        for last in (False, False, True):  # one refusal for what is no id, one for what the token may not see
            try:
                found = await self._do(calls.counts(list(wanted)))
                if left_out := wanted.keys() - found.keys():
                    raise PlauditError(f"The answer leaves out {len(left_out)} of the targets.")
            except Exception as error:
                refused = [] if last else calls.culprits(wanted, error)
                for target in refused or list(wanted):
                    future = wanted.pop(target)
                    future.set_exception(error)
                    future.exception()  # it may be that nobody waits for it any more
                if not wanted:
                    return
            else:
                for target, future in wanted.items():
                    future.set_result(found[target])
                return

    async def feed(self, targets: Iterable[str], *, user: str | None = None) -> dict[str, Target]:
        """What is shown beside these targets: counts, the user's own reaction, summary."""
        found: dict[str, Target] = {}
        for some in calls.hundreds(targets):
            part = await self._do(calls.feed(some, user))
            found |= part
        return found

    async def mine(self, targets: Iterable[str], *, user: str | None = None) -> dict[str, str | None]:
        """The user's own reaction by target, None for none."""
        found: dict[str, str | None] = {}
        for some in calls.hundreds(targets):
            part = await self._do(calls.mine(some, user))
            found |= part
        return found

    async def reactors(
        self, target: str, reaction: str | None = None, *, page_size: int = calls.MOST
    ) -> AsyncIterator[Reactor]:
        """Who reacted (in this way), newest first; page after page as far as it is read."""
        cursor: str | None = None
        while True:
            page = await self._do(calls.reactors(target, reaction, cursor, page_size))
            for entry in page.entries:
                yield entry
            if (cursor := page.next_cursor) is None:
                return

    async def reacted(
        self, *, page_size: int = calls.MOST, user: str | None = None
    ) -> AsyncIterator[Reacted]:
        """What the user reacted to, newest first; page after page as far as it is read."""
        cursor: str | None = None
        while True:
            page = await self._do(calls.reacted(cursor, page_size, user))
            for entry in page.entries:
                yield entry
            if (cursor := page.next_cursor) is None:
                return

    async def catalogue(self) -> Catalogue:
        """Which reactions there are, and where each may be given."""
        return await self._do(calls.catalogue())

    async def register_target(
        self,
        target: str,
        *,
        owner: str | EllipsisType | None = ...,
        type: str | EllipsisType = ...,
        title: str | EllipsisType | None = ...,
        closed: bool | EllipsisType = ...,
        allowed: Sequence[str] | EllipsisType | None = ...,
    ) -> Registration:
        """Describe a target (host app). What is left out stays as it is; None takes an owner or title away, and allows
        the reactions of the target's type.
        """
        body = calls.description(owner, type, title, closed, allowed)
        return await self._do(calls.register_target(target, body))

    async def registration(self, target: str) -> Registration:
        """How a target is registered (host app)."""
        return await self._do(calls.registration(target))

    async def delete_target(self, target: str) -> Job:
        """Delete a target and its reactions (host app)."""
        return await self._do(calls.delete_target(target))

    async def describe_user(
        self,
        user: str,
        *,
        name: str | None = None,
        avatar_url: str | None = None,
        locale: str | None = None,
        time_zone: str | None = None,
    ) -> Profile:
        """How a user is shown to others (host app); replaces the whole description."""
        body = {"name": name, "avatar_url": avatar_url, "locale": locale, "time_zone": time_zone}
        return await self._do(calls.describe_user(user, body))

    async def erase_user(self, user: str) -> Job:
        """Erase a user for good (host app)."""
        return await self._do(calls.erase_user(user))

    async def job(self, job_id: str) -> Job:
        """How a deletion or erasure goes (host app)."""
        return await self._do(calls.job(job_id))

    async def stream(self, targets: Sequence[str]) -> AsyncIterator[dict[str, Counts]]:
        """Counts of at most a hundred targets: first all, then what changes, for ever. Comes back when it breaks off.

        Raises `PlauditError` for what waiting does not help.
        """
        address = f"{self._url}{calls.STREAM}"
        failures, renew, renewed, token = 0, False, False, None
        while True:
            asked_s = BACK_S
            try:
                token = await self._get_token(token if renew else None, renew)
                renew = False
                async with self._http.stream(
                    "GET",
                    address,
                    params={"target_ids": calls.joined(targets)},
                    headers={"authorization": f"Bearer {token}"} if token else {},
                    timeout=httpx.Timeout(self._timeout_s, read=SILENT_S),
                ) as response:
                    if response.status_code != 200:
                        raise problem(_answer(response, await response.aread()))
                    failures, renewed, events = 0, False, Events()
                    async for line in response.aiter_lines():
                        if (told := events.line(line)) is not None:
                            yield told
            except httpx.TransportError as error:
                if refused := final(error):
                    raise refused from None
                failures += 1
            except PlauditError as error:
                if error.status == 401 and callable(self._token) and not renewed:
                    renew = renewed = True
                elif not error.temporary:
                    raise
                failures += 1
                asked_s = 0.0 if renew else error.retry_after_s
            await asyncio.sleep(self._retries.pause_s(failures or 1, asked_s))

    async def _do(self, call: Call[T]) -> T:
        talking = talk(
            call,
            self._retries,
            time.monotonic,
            renewable=callable(self._token),
            route=self._routes.of(call.target, call.user) if call.target is not None else None,
        )
        told: Any = None
        try:
            while True:
                match talking.send(told):
                    case AskToken(refused=refused):
                        try:
                            told = await self._get_token(refused, refused is not None)
                        except Exception as error:
                            told = error
                    case Pause(seconds=seconds):
                        await asyncio.sleep(seconds)
                        told = None
                    case Send() as wanted:
                        told = await self._send(wanted)
        except StopIteration as end:
            self._routes.learn(call.user, end.value)
            return end.value  # type: ignore[no-any-return] # what the generator returns

    async def _send(self, wanted: Send) -> Answer | httpx.TransportError | PlauditError:
        try:
            response = await self._http.request(
                wanted.method,
                self._url + wanted.address,
                headers=wanted.headers,
                content=wanted.body,
                timeout=self._timeout_s,
            )
        except httpx.TransportError as error:
            return final(error) or error
        return _answer(response, response.content)

    async def _get_token(self, refused: str | None, renew: bool) -> str | None:
        if not callable(self._token):
            return self._token
        if self._known not in {None, refused}:
            return self._known
        if self._renewing is None:  # all who wait for it share one question
            self._renewing = asyncio.create_task(self._renew(self._token, renew))
            self._renewing.add_done_callback(_retrieve)
        self._awaiting += 1
        try:
            return await asyncio.shield(self._renewing)
        finally:
            self._awaiting -= 1
            if not self._awaiting and self._renewing is not None:  # nobody waits for it any more
                self._renewing.cancel()
                self._renewing = None

    async def _renew(self, source: Callable[[bool], str | Awaitable[str]], renew: bool) -> str | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                got = source(renew)
                self._known = usable(await got if isawaitable(got) else got)
            return self._known
        except TimeoutError as error:
            raise PlauditError("The function for tokens does not answer.") from error
        finally:
            if self._renewing is asyncio.current_task():
                self._renewing = None


def _retrieve(task: asyncio.Task[Any]) -> None:
    """It may be that nobody waits for it any more."""
    if not task.cancelled():
        task.exception()


def _answer(response: httpx.Response, body: bytes) -> Answer:
    return Answer(
        response.status_code, {name.lower(): value for name, value in response.headers.items()}, body
    )
