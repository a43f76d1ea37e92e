"""The rules of repeating, without a connection."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.client import Client, PlauditError, Retries
from plaudit.client.aio import AsyncClient
from plaudit.client.calls import Call, hundreds, is_id, mine, tap
from plaudit.client.events import Events
from plaudit.client.talk import Answer, AskToken, Pause, Send, problem, talk
from plaudit.domain.errors import Invalid
from plaudit.domain.ids import RESERVED_TARGETS, target_id

STATUSES = st.sampled_from([200, 400, 401, 409, 429, 500, 502, 503, 504, 0])


TOKENS = st.sampled_from(["t", None, ValueError("away"), PlauditError("a page of errors")])
UNKNOWN = {0, 500, 502, 504}


@given(
    st.lists(STATUSES, min_size=1, max_size=12),
    st.integers(1, 6),
    st.booleans(),
    st.lists(TOKENS, min_size=2, max_size=2),
    st.booleans(),
)
def test_whatever_comes_it_ends_and_a_tap_keeps_its_key(
    statuses: list[int], attempts: int, renewable: bool, tokens: list[object], again: bool
) -> None:
    """Never more tries than allowed (one more for a new token), never a pause after the last, one key throughout.

    Who fails knows that key, and that nothing was stored only where every attempt said so, and none was before.
    """
    call: Call[int] = Call("PUT", "/x", lambda json, _: int(json), body={}, key="k", again=again)
    talking = talk(call, Retries(attempts), lambda: 0.0, renewable=renewable)
    sent, renewed, paused, unknown = 0, 0, 0, False
    answers = iter([*statuses, *[200] * 20])
    told: object = None
    failed: PlauditError | None = None
    while failed is None:
        try:
            do = talking.send(told)
        except StopIteration:
            break
        except PlauditError as error:
            failed = error
            break
        match do:
            case AskToken(refused=refused):
                renewed += refused is not None
                told = tokens[refused is not None]
            case Send(headers=headers):
                assert headers["idempotency-key"] == "k"
                sent += 1
                status = next(answers)
                unknown = unknown or status in UNKNOWN
                told = OSError("gone") if status == 0 else Answer(status, {}, b"1")
            case Pause(seconds=seconds):
                assert 0 <= seconds <= 5
                paused += 1
                told = None
    if failed is not None:
        assert failed.key == "k"
        assert failed.stored is (None if unknown or again else False)
        if isinstance(failed.__cause__, ValueError | PlauditError):  # no token
            assert failed.temporary
            assert paused == max(0, sent - 1)
            return
        assert not failed.temporary or sent - renewed == attempts
    assert sent <= attempts + renewed
    assert renewed <= renewable
    assert paused == sent - 1 - renewed


def test_pauses_are_random_and_grow_and_are_never_shorter_than_asked_for() -> None:
    retries = Retries(first_s=0.2, longest_s=5)
    random.seed(1)
    means = [sum(retries.pause_s(n, 0) for _ in range(500)) / 500 for n in range(1, 9)]
    assert means == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.5, 2.5, 2.5], rel=0.15)
    asked = [retries.pause_s(1, 3) for _ in range(500)]
    assert min(asked) >= 3
    assert sum(asked) / 500 == pytest.approx(4.5, rel=0.05), (
        "a crowd comes back spread over as long as it waited"
    )
    assert max(retries.pause_s(8, 1) for _ in range(500)) > 5


def test_an_outage_may_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as a stream is repeated its failures are counted."""
    monkeypatch.setattr(random, "random", lambda: 1.0)
    assert [Retries().pause_s(failures, 0) for failures in (1024, 1025, 10**6)] == [5.0] * 3


def test_the_time_is_up_before_the_attempts_are() -> None:
    now_s = iter([0.0, 29.0, 31.0])
    call: Call[int] = Call("GET", "/x", lambda json, _: int(json))
    talking = talk(call, Retries(), lambda: next(now_s), renewable=False)
    next(talking)
    assert isinstance(talking.send(None), Send)
    assert isinstance(talking.send(OSError()), Pause)
    assert isinstance(talking.send(None), Send)
    with pytest.raises(PlauditError):
        talking.send(OSError())


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"7",
        b'"text"',
        b"null",
        b'{"code": {}, "detail": [], "errors": 5, "target_ids": {"a": 1}}',
        b"<h1>",
    ],
)
def test_whatever_a_refusal_holds_it_is_an_error_with_its_status(body: bytes) -> None:
    error = problem(Answer(404, {"content-type": "application/problem+json"}, body))
    assert (error.status, error.code, error.errors, error.targets) == (404, None, (), ())
    assert str(error)


def test_what_fails_because_of_some_targets_is_not_asked_again_with_them() -> None:
    call: Call[int] = Call("GET", "/x", lambda json, _: int(json))
    talking = talk(call, Retries(), lambda: 0.0, renewable=False)
    next(talking)
    assert isinstance(talking.send(None), Send)
    body = b'{"code": "internal", "target_ids": ["t"]}'
    with pytest.raises(PlauditError) as failed:
        talking.send(Answer(500, {"content-type": "application/problem+json"}, body))
    assert (failed.value.targets, failed.value.temporary, failed.value.stored) == (("t",), False, None)


@pytest.mark.parametrize(
    ("said", "waits_s"), [("7", 7), ("3601", 3600), ("9" * 400, 3600), ("-1", 0), ("²", 0)]
)
def test_no_answer_makes_anybody_wait_for_more_than_an_hour(said: str, waits_s: float) -> None:
    assert problem(Answer(503, {"retry-after": said}, b"")).retry_after_s == waits_s


@given(st.lists(st.text("abc", min_size=1, max_size=3), max_size=400))
def test_each_target_is_asked_for_once_a_hundred_at_a_time(ids: list[str]) -> None:
    parts = list(hundreds(ids))
    assert [id_ for part in parts for id_ in part] == list(dict.fromkeys(ids))
    assert all(1 <= len(part) <= 100 for part in parts)
    assert all(len(part) == 100 for part in parts[:-1])


@given(st.text("aZ09_.:@~|=- ü\n", max_size=3) | st.sampled_from([*RESERVED_TARGETS, "a" * 128, "a" * 129]))
def test_the_client_takes_for_an_id_what_the_service_does(text: str) -> None:
    try:
        target_id(text)
    except Invalid:
        assert not is_id(text)
    else:
        assert is_id(text)


@given(st.lists(st.text(max_size=40), max_size=30))
def test_a_stream_of_garbage_tells_nothing(lines: list[str]) -> None:
    events = Events()
    assert [told for line in [*lines, ""] if (told := events.line(line)) is not None] == []


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_token_that_cannot_be_one_and_an_address_without_scheme_are_refused_at_once(kind: Any) -> None:
    """Neither is an outage, and no error shows the token, which may be where the address should be."""
    assert kind("http://h/", " t.o-k.en\n")._token == "t.o-k.en"
    assert kind(" https://h:8/under/\n")._url == "https://h:8/under"
    for token in ("a\nb", "Bearer secret", "", "sécret"):
        with pytest.raises(ValueError, match=r"^token: ") as refused:
            kind("http://h", token)
        assert "ret" not in str(refused.value)
    for url in ("h:8080", "h", "", "ftp://h", "https://", "//h", "secret.to.ken"):
        with pytest.raises(ValueError, match=r"^url: ") as refused:
            kind(url)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["schlüssel", "é→", "a\n", " a", "a\x7f"])
def test_what_no_header_can_hold_is_refused_by_the_name_of_its_argument(text: str) -> None:
    calls: list[tuple[str, Callable[[], object]]] = [
        ("key", lambda: tap("PUT", "t", "like", None, None, text)),
        ("user", lambda: tap("DELETE", "t", None, None, text, None)),
        ("user", lambda: mine(["t"], text)),
    ]
    for name, call in calls:
        with pytest.raises(ValueError, match=f"^{name}: ") as refused:
            call()
        assert repr(text) in str(refused.value)
    assert tap("PUT", "t", "like", None, "who or what", "a key").user == "who or what", "it can be sent"


def test_an_id_that_is_no_text_is_refused_by_the_name_of_its_argument() -> None:
    number: Any = 42
    with Client("http://127.0.0.1:9") as client:
        for name, call in (
            ("target", lambda: client.set(number, "like")),
            ("target", lambda: client.remove(number)),
            ("target", lambda: client.registration(number)),
            ("target", lambda: next(client.reactors(number))),
            ("targets", lambda: client.counts(["t", number])),
            ("targets", lambda: next(client.stream([number]))),
            ("user", lambda: client.set("t", "like", user=number)),
            ("user", lambda: client.erase_user(number)),
            ("key", lambda: client.set("t", "like", key=number)),
            ("job_id", lambda: client.job(number)),
        ):
            with pytest.raises(TypeError, match=f"^{name}: .*42$"):
                call()


def test_both_clients_have_the_same_calls() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(AsyncClient) - public(Client) == {"count"}
    assert public(Client) - public(AsyncClient) == set()
