"""What deploy/nginx/plaudit.conf does with each kind of request, with the real nginx before scripted processes."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.support.nginx import Nginx
from tests.support.server import POLL_S

pytestmark = pytest.mark.usefixtures("nginx")

TAP = "/api/v1/reactions"
TOKEN = "Bearer e30.e30.c2ln"  # it looks like one, and nobody here looks closer
KEYED = {"Idempotency-Key": "k"}
WITHIN_S = 30.0


class Scripted(ThreadingHTTPServer):
    """In the place of an API process. `fate`: a status to answer with, `drop`, `hang` or `stream`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fate: int | str = 200
        self.seen: list[tuple[str, str]] = []
        self.go_on = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def end(self) -> None:
        """Close every connection, as a process does that is killed, and refuse further ones."""
        self.shutdown()
        self.server_close()
        for each in self._open:
            with suppress(OSError):  # it is closed already
                each.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        server = self.server
        assert isinstance(server, Scripted)
        server.seen.append((self.command, self.path))
        if server.fate == "drop":
            self.close_connection = True
            return
        if server.fate == "hang":
            server.go_on.wait(WITHIN_S)
            self.close_connection = True
            return
        if server.fate == "stream":
            self._stream(server)
            return
        self.send_response(int(server.fate))
        body = str(server.port).encode()
        for name, value in {"content-length": str(len(body)), "retry-after": "7"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, server: Scripted) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        if server.go_on.wait(WITHIN_S):
            self.wfile.write(b"data: second\n\n")

    do_GET = do_PUT = do_POST = do_DELETE = do_OPTIONS = _answer  # noqa: N815 - the names http.server looks for

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Site(NamedTuple):
    """nginx, the processes behind it, and a client."""

    nginx: Nginx
    behind: list[Scripted]
    http: httpx.Client

    def takes(self, method: str, path: str, **more: Any) -> int:
        """The port of the process that takes a request."""
        answer = self.http.request(method, path, **more)
        assert answer.status_code == 200, answer.text
        return int(answer.text)

    def owned(self) -> tuple[Scripted, str]:
        """A process, and a route that it owns."""
        owner = self.takes("PUT", TAP, headers={"Plaudit-Route": "a"})
        for each in self.behind:
            each.seen.clear()
        return next(each for each in self.behind if each.port == owner), "a"

    def seen(self) -> int:
        """How many requests reached any process."""
        return sum(len(each.seen) for each in self.behind)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(tmp_path) as site:
        yield site


@contextmanager
def opened(folder: Path, silent_ms: int | None = None) -> Iterator[Site]:
    """nginx before three processes."""
    with ExitStack() as stack:
        behind = [Scripted() for _ in range(3)]
        for each in behind:
            stack.callback(each.end)
        nginx = stack.enter_context(
            Nginx(folder / "nginx", [each.port for each in behind], silent_ms=silent_ms)
        )
        client = httpx.Client(base_url=nginx.url, timeout=WITHIN_S, headers={"Authorization": TOKEN})
        yield Site(nginx, behind, stack.enter_context(client))


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_taps_of_one_route_go_to_one_process_and_routes_are_spread(site: Site, method: str) -> None:
    routes = [f"post:{number}/{1 + number % 8}" for number in range(40)]

    def owners() -> list[int]:
        return [site.takes(method, TAP, headers={"Plaudit-Route": route}) for route in routes]

    first = owners()
    assert owners() == first
    assert set(first) == {each.port for each in site.behind}


def test_without_a_route_the_address_says_what_it_can(site: Site) -> None:
    for number in range(12):
        target = f"post:{number}"
        owner = site.takes("PUT", TAP, headers={"Plaudit-Route": target})
        assert site.takes("DELETE", f"{TAP}?target_id={target}") == owner
        assert site.takes("PUT", f"/api/v1/targets/{target}") == owner


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_taps_that_say_nothing_are_spread(site: Site, method: str) -> None:
    assert len({site.takes(method, TAP) for _ in range(6)}) == 3


@pytest.mark.parametrize(
    "path", [f"{TAP}/post:1", f"{TAP}/counts?target_ids=post:1", f"{TAP}/post:1/reactors"]
)
def test_reads_are_spread_whatever_they_send(site: Site, path: str) -> None:
    assert len({site.takes("GET", path, headers={"Plaudit-Route": "post:1"}) for _ in range(6)}) == 3


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", TAP, KEYED),
        ("PUT", TAP, {}),
        ("DELETE", f"{TAP}?target_id=a", {}),
        ("GET", f"{TAP}/counts?target_ids=a", {}),
        ("POST", f"{TAP}/feed", {}),
        ("POST", f"{TAP}/mine", {}),
    ],
)
def test_what_may_be_repeated_goes_to_another_process(
    site: Site, method: str, path: str, headers: dict[str, str]
) -> None:
    broken, route = site.owned()
    broken.fate = "drop"
    for _ in range(6):  # what is spread meets it sooner or later
        assert site.takes(method, path, headers={"Plaudit-Route": route, **headers}) != broken.port
    assert broken.seen, "it was asked first"


def test_a_toggle_without_a_key_is_not_repeated(site: Site) -> None:
    broken, route = site.owned()
    broken.fate = "drop"
    answer = site.http.post(TAP, headers={"Plaudit-Route": route})
    assert answer.status_code == 502
    assert (len(broken.seen), site.seen()) == (1, 1)


def test_a_toggle_that_nobody_has_seen_goes_to_another_process(site: Site) -> None:
    gone, route = site.owned()
    gone.end()
    assert len({site.takes("POST", TAP, headers={"Plaudit-Route": route}) for _ in range(6)}) == 1


@pytest.mark.parametrize("status", [503, 504, 500, 429])
def test_what_a_process_says_is_passed_on_and_does_not_count_as_a_failure(site: Site, status: int) -> None:
    busy, route = site.owned()
    busy.fate = status
    for number in range(1, 6):
        answer = site.http.put(TAP, headers={"Plaudit-Route": route, **KEYED})
        assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")
        assert (len(busy.seen), site.seen()) == (number, number)


def test_a_process_that_is_back_gets_its_share_again(site: Site) -> None:
    away, route = site.owned()
    away.fate = "drop"
    headers = {"Plaudit-Route": route}
    assert len({site.takes("PUT", TAP, headers=headers) for _ in range(7)}) == 1
    assert len(away.seen) < 7, "it is left alone for a while"
    away.fate = 200
    deadline = time.monotonic() + WITHIN_S
    while site.takes("PUT", TAP, headers=headers) != away.port:
        assert time.monotonic() < deadline
        time.sleep(POLL_S)


def test_events_are_passed_on_one_by_one(site: Site) -> None:
    for each in site.behind:
        each.fate = "stream"
    with site.http.stream("GET", f"{TAP}/stream?target_ids=a") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: first"
        for each in site.behind:
            each.go_on.set()
        assert [line for line in lines if line] == ["data: second"]


def test_what_plaudit_takes_is_not_too_large(site: Site) -> None:
    ids = ",".join(f"{number:03}{'x' * 125}" for number in range(100))
    site.takes("GET", f"{TAP}/counts?target_ids={ids}")
    site.takes("POST", f"{TAP}/feed", content=b"x" * 20_000)
    assert site.http.post(f"{TAP}/feed", content=b"x" * 100_000).status_code == 413


@pytest.mark.parametrize("authorization", [None, "", "x", "Bearer x", "Basic YTpi"])
def test_who_has_no_token_is_limited_by_address(site: Site, authorization: str | None) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.nginx.port, timeout=WITHIN_S)

    def told(headers: dict[str, str]) -> int:
        connection.request("GET", f"{TAP}/counts?target_ids=a", headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert {told({"Authorization": TOKEN}) for _ in range(500)} == {200}
    statuses, anonymous = set(), {} if authorization is None else {"Authorization": authorization}
    for _ in range(5_000):
        statuses.add(told(anonymous))
        if 429 in statuses:
            break
    connection.close()
    assert statuses == {200, 429}


def test_what_a_browser_asks_first_has_no_token_and_no_limit(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.nginx.port, timeout=WITHIN_S)
    statuses = set()
    for _ in range(1_000):
        connection.request("OPTIONS", TAP, headers={"Origin": "https://a.example"})
        answer = connection.getresponse()
        answer.read()
        statuses.add(answer.status)
    connection.close()
    assert statuses == {200}


def own(answer: httpx.Response, status: int) -> None:
    """Check that a page of another origin can read an answer of nginx's own."""
    assert answer.status_code == status
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]
    assert answer.headers.get("access-control-expose-headers") == "Retry-After"
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == status
    assert told["title"]
    assert "code" not in told, "clients go by it to know who spoke"
    assert answer.headers.get("retry-after") == (None if status == 413 else "1")


_KINDS: list[tuple[str, str, dict[str, str]]] = [
    ("POST", TAP, {}),
    ("POST", TAP, KEYED),
    ("PUT", TAP, KEYED),
    ("GET", f"{TAP}/counts?target_ids=a", {}),
]
_STREAM: tuple[str, str, dict[str, str]] = ("GET", f"{TAP}/stream?target_ids=a", {})


@pytest.mark.parametrize(
    ("method", "path", "headers", "fate", "status"),
    [
        *((*kind, "drop", 502) for kind in (*_KINDS, _STREAM)),
        *((*kind, "hang", 504) for kind in _KINDS),  # a stream waits for a minute
    ],
)
def test_pages_of_other_origins_can_read_what_nginx_says_itself(
    tmp_path: Path, method: str, path: str, headers: dict[str, str], fate: str, status: int
) -> None:
    with opened(tmp_path, silent_ms=150 if fate == "hang" else None) as site:
        for each in site.behind:
            each.fate = fate
        own(site.http.request(method, path, headers=headers), status)
        for each in site.behind:
            each.go_on.set()


def test_also_that_a_body_is_too_large_or_that_there_are_too_many_requests(site: Site) -> None:
    own(site.http.post(f"{TAP}/feed", content=b"x" * 100_000), 413)
    own(site.http.post(TAP, content=b"x" * 100_000, headers=KEYED), 413)
    site.http.headers.pop("Authorization")
    for _ in range(5_000):
        answer = site.http.get(f"{TAP}/counts?target_ids=a")
        if answer.status_code != 200:
            own(answer, 429)
            return
    pytest.fail("nobody was limited")


def test_answers_of_a_process_go_through_as_they_are(site: Site) -> None:
    for each in site.behind:
        each.fate = 504
    answer = site.http.put(TAP, headers=KEYED)
    assert (answer.status_code, answer.headers["retry-after"]) == (504, "7")
    assert "access-control-allow-origin" not in answer.headers, "that is for the process to say"


def test_under_a_path_it_is_the_same(tmp_path: Path, site: Site) -> None:
    """With the line that is there for it: what is repeated, who owns what, and what processes are asked for."""
    ports = [each.port for each in site.behind]
    with (
        Nginx(tmp_path / "mounted", ports, mounted=True) as nginx,
        httpx.Client(base_url=f"{nginx.url}/plaudit", headers={"Authorization": TOKEN}) as client,
    ):
        mounted = site._replace(nginx=nginx, http=client)
        owner, route = site.owned()
        assert mounted.takes("PUT", TAP, headers={"Plaudit-Route": route}) == owner.port
        assert mounted.takes("PUT", f"/api/v1/targets/{route}") == owner.port
        owner.fate = "drop"
        mounted.takes("POST", TAP, headers={"Plaudit-Route": route, **KEYED})
        assert client.post(TAP, headers={"Plaudit-Route": route}).status_code == 502
        assert client.get("/metrics").status_code == 404
    assert {path for each in site.behind for _, path in each.seen} == {TAP, f"/api/v1/targets/{route}"}


def test_metrics_are_not_for_the_public(site: Site) -> None:
    assert site.http.get("/metrics").status_code == 404
    assert site.seen() == 0
