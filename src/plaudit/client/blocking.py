"""The blocking client. Its rules are in `talk`, its calls in `calls`; here is what waits."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import EllipsisType, TracebackType
from typing import Any, Self, TypeVar

import httpx

from plaudit.client import calls
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
    unsendable,
    usable,
)

T = TypeVar("T")
Token = str | Callable[[bool], str] | None
"""A token, or what gives one: called with True where the last one was refused. None: only what is public."""


def final(error: httpx.TransportError) -> PlauditError | None:
    """The error of a call that httpx itself refuses to send, which waiting makes no better; None for any other.

    Over HTTP/2 (a client of the caller's own) the same kind may come when the request has left.
    """
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__module__.startswith("h2."):
            return None
        cause = cause.__cause__ or cause.__context__
    refused = isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol)
    return unsendable(error) if refused else None


class Client:
    """Plaudit at an address, for one token. Safe to use from several threads, as httpx is.

    Raises `ValueError` for an address that is not http(s), and for a token that cannot be one.

    `timeout_s` is for each attempt, and not for the token function, which nobody can interrupt; `http` an httpx client
    of your own, which stays yours to close.
    """

    def __init__(
        self,
        url: str,
        token: Token = None,
        *,
        timeout_s: float = 10.0,
        retries: Retries | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self._url = base(url)
        self._token = lasting(token) if isinstance(token, str) else token
        self._known: str | None = None
        self._timeout_s = timeout_s
        self._retries = retries or Retries()
        self._routes = Routes()
        self._own = http is None
        self._http = http or httpx.Client()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._http.close()

    def set(
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
        return self._do(calls.tap("PUT", target, reaction, type, user, key))

    def toggle(
        self,
        target: str,
        reaction: str,
        *,
        type: str | None = None,
        user: str | None = None,
        key: str | None = None,
    ) -> Tap:
        """Give this reaction, switch to it, or take it back if it is there. Arguments as for `set`."""
        return self._do(calls.tap("POST", target, reaction, type, user, key))

    def remove(self, target: str, *, user: str | None = None, key: str | None = None) -> Tap:
        """Take any reaction back, on closed targets too. Arguments as for `set`."""
        return self._do(calls.tap("DELETE", target, None, None, user, key))

    def counts(self, targets: Iterable[str]) -> dict[str, Counts]:
        """Counts by target, of any number of targets: a hundred in each call."""
        found: dict[str, Counts] = {}
        for some in calls.hundreds(targets):
            part = self._do(calls.counts(some))
            found |= part
        return found

    def feed(self, targets: Iterable[str], *, user: str | None = None) -> dict[str, Target]:
        """What is shown beside these targets: counts, the user's own reaction, summary."""
        found: dict[str, Target] = {}
        for some in calls.hundreds(targets):
            part = self._do(calls.feed(some, user))
            found |= part
        return found

    def mine(self, targets: Iterable[str], *, user: str | None = None) -> dict[str, str | None]:
        """The user's own reaction by target, None for none."""
        found: dict[str, str | None] = {}
        for some in calls.hundreds(targets):
            part = self._do(calls.mine(some, user))
            found |= part
        return found

    def reactors(
        self, target: str, reaction: str | None = None, *, page_size: int = calls.MOST
    ) -> Iterator[Reactor]:
        """Who reacted (in this way), newest first; page after page as far as it is read."""
        cursor: str | None = None
        while True:
            page = self._do(calls.reactors(target, reaction, cursor, page_size))
            yield from page.entries
            if (cursor := page.next_cursor) is None:
                return

    def reacted(self, *, page_size: int = calls.MOST, user: str | None = None) -> Iterator[Reacted]:
        """What the user reacted to, newest first; page after page as far as it is read."""
        cursor: str | None = None
        while True:
            page = self._do(calls.reacted(cursor, page_size, user))
            yield from page.entries
            if (cursor := page.next_cursor) is None:
                return

    def catalogue(self) -> Catalogue:
        """Which reactions there are, and where each may be given."""
        return self._do(calls.catalogue())

    def register_target(
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
        return self._do(calls.register_target(target, body))

    def registration(self, target: str) -> Registration:
        """How a target is registered (host app)."""
        return self._do(calls.registration(target))

    def delete_target(self, target: str) -> Job:
        """Delete a target and its reactions (host app)."""
        return self._do(calls.delete_target(target))

    def describe_user(
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
        return self._do(calls.describe_user(user, body))

    def erase_user(self, user: str) -> Job:
        """Erase a user for good (host app)."""
        return self._do(calls.erase_user(user))

    def job(self, job_id: str) -> Job:
        """How a deletion or erasure goes (host app)."""
        return self._do(calls.job(job_id))

    def stream(self, targets: Sequence[str]) -> Iterator[dict[str, Counts]]:
        """Counts of at most a hundred targets: first all, then what changes, for ever. Comes back when it breaks off.

        Raises `PlauditError` for what waiting does not help.
        """
        address = f"{self._url}{calls.STREAM}"
        failures, renew, renewed, token = 0, False, False, None
        while True:
            asked_s = BACK_S
            try:
                token = self._get_token(token if renew else None, renew)
                renew = False
                with self._http.stream(
                    "GET",
                    address,
                    params={"target_ids": calls.joined(targets)},
                    headers={"authorization": f"Bearer {token}"} if token else {},
                    timeout=httpx.Timeout(self._timeout_s, read=SILENT_S),
                ) as response:
                    if response.status_code != 200:
                        raise problem(_answer(response, response.read()))
                    failures, renewed, events = 0, False, Events()
                    for line in response.iter_lines():
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
            time.sleep(self._retries.pause_s(failures or 1, asked_s))

    def _do(self, call: Call[T]) -> T:
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
                            told = self._get_token(refused, refused is not None)
                        except Exception as error:
                            told = error
                    case Pause(seconds=seconds):
                        time.sleep(seconds)
                        told = None
                    case Send() as wanted:
                        told = self._send(wanted)
        except StopIteration as end:
            self._routes.learn(call.user, end.value)
            return end.value  # type: ignore[no-any-return] # what the generator returns

    def _send(self, wanted: Send) -> Answer | httpx.TransportError | PlauditError:
        try:
            response = self._http.request(
                wanted.method,
                self._url + wanted.address,
                headers=wanted.headers,
                content=wanted.body,
                timeout=self._timeout_s,
            )
        except httpx.TransportError as error:
            return final(error) or error
        return _answer(response, response.content)

    def _get_token(self, refused: str | None, renew: bool) -> str | None:
        if not callable(self._token):
            return self._token
        if self._known in {None, refused}:
            self._known = usable(self._token(renew))
        return self._known


def _answer(response: httpx.Response, body: bytes) -> Answer:
    return Answer(
        response.status_code, {name.lower(): value for name, value in response.headers.items()}, body
    )
