"""Messages in words: languages, plural forms, and files of the host app."""

from typing import Any

import msgspec
import pytest

from plaudit.domain.errors import Invalid
from plaudit.services.wording import Wording

POLISH = {
    "title": "Nowe reakcje",
    "reacted": dict.fromkeys(("one", "few", "many", "other"), "{who} → {what}"),
    "liked": dict.fromkeys(("one", "few", "many", "other"), "{who} ♥ {what}"),
    "people": {"one": "{n} osoba", "few": "{n} osoby", "many": "{n} osób", "other": "{n} osoby"},
    "others": {
        "one": "{n} inna osoba",
        "few": "{n} inne osoby",
        "many": "{n} innych osób",
        "other": "{n} innej osoby",
    },
    "comma": "{first}, {next}",
    "and": "{first} i {next}",
    "what": {"post": "twój post", "*": "twoja treść"},
    "titled": "{what} „{title}”",
}


def say(
    locale: str | None,
    total: int,
    *names: str,
    wording: Wording | None = None,
    title: str | None = None,
    target_type: str = "post",
    all_likes: bool = False,
) -> str:
    return (
        (wording or Wording())
        .words(locale, target_type=target_type, title=title, names=names, total=total, all_likes=all_likes)
        .body
    )


@pytest.mark.parametrize(
    ("locale", "total", "names", "text"),
    [
        ("en", 1, ["Alice"], "Alice reacted to your post"),
        ("en", 2, ["Alice", "Bob"], "Alice and Bob reacted to your post"),
        ("en", 3, ["Alice", "Bob", "Cid"], "Alice, Bob and Cid reacted to your post"),
        ("en", 4, ["Alice", "Bob", "Cid"], "Alice, Bob and 2 others reacted to your post"),
        ("en", 49, ["Alice", "Bob", "Cid"], "Alice, Bob and 47 others reacted to your post"),
        ("en", 2, ["Alice"], "Alice and 1 other reacted to your post"),
        ("en", 1234567, [], "1,234,567 people reacted to your post"),
        ("en", 1, [], "1 person reacted to your post"),
        ("de-AT", 1, ["Alice"], "Alice hat auf deinen Beitrag reagiert"),
        ("de", 2, ["Alice"], "Alice und 1 weitere Person haben auf deinen Beitrag reagiert"),
        (
            "de",
            1234567,
            ["Alice", "Bob"],
            "Alice, Bob und 1.234.565 weitere haben auf deinen Beitrag reagiert",
        ),
    ],
)
def test_a_sentence(locale: str, total: int, names: list[str], text: str) -> None:
    assert say(locale, total, *names) == text


@pytest.mark.parametrize("total", range(1, 200))
def test_polish_forms_are_cldr_forms(total: int) -> None:
    wording = Wording({"pl": msgspec.json.encode(POLISH)})
    text = say("pl_PL", total, wording=wording).split(" → ")[0]
    few = total % 10 in (2, 3, 4) and total % 100 not in (12, 13, 14)
    assert text == f"{total} {'osoba' if total == 1 else 'osoby' if few else 'osób'}"


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("xx", "en"),
        ("DE", "de"),
        ("de_CH", "de"),
        ("de-Latn-CH-1996", "de"),
        ("en-GB", "en"),
    ],
)
def test_the_language_of_a_locale(locale: str | None, language: str) -> None:
    assert Wording().language(locale) == language


def test_titles_types_and_likes() -> None:
    assert say("en", 1, "Al", title="My holiday") == "Al reacted to your post “My holiday”"
    assert say("en", 1, "Al", target_type="photo") == "Al reacted to what you shared"
    assert say("en", 2, "Al", "Bo", target_type="comment", all_likes=True) == "Al and Bo liked your comment"
    assert say("en", 1, "{who} {0.x}", title="{n}") == "{who} {0.x} reacted to your post “{n}”"


def test_the_host_app_replaces_ours_and_adds_its_own() -> None:
    texts: dict[str, Any] = {**msgspec.json.decode(msgspec.json.encode(POLISH)), "title": "Hey!"}
    wording = Wording({"en": msgspec.json.encode({**texts, "reacted": {"one": "{who}!", "other": "{who}!"}})})
    assert say("en", 1, "Al", wording=wording) == "Al!"
    assert say("de", 1, "Al", wording=wording) == say("de", 1, "Al"), "those it does not replace stay"


def broken(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**POLISH, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("language", "body", "said"),
    [
        ("pl", b"{", "pl.json"),
        ("pl", b"\xff", "pl.json"),
        ("klingon", msgspec.json.encode(POLISH), "CLDR knows no such language"),
        ("pl", msgspec.json.encode(broken(title=None)), "title"),
        ("pl", msgspec.json.encode(broken(more="x")), "more"),
        ("pl", msgspec.json.encode(broken(people={"one": "a", "other": "b"})), "few, many"),
        ("pl", msgspec.json.encode(broken(what={"post": "x"})), "lacks *"),
        ("pl", msgspec.json.encode(broken(comma="{first.__class__}")), "{first.__class__} is unknown"),
        ("pl", msgspec.json.encode(broken(comma="{first!r}")), "unknown"),
        ("pl", msgspec.json.encode(broken(comma="{first:>999999999}")), "unknown"),
        ("pl", msgspec.json.encode(broken(title="{who}")), "the marks here are: none"),
        ("pl", msgspec.json.encode(broken(titled="{")), "titled"),
    ],
)
def test_a_file_that_cannot_work_is_refused_by_name(language: str, body: bytes, said: str) -> None:
    with pytest.raises(Invalid, match="notification_texts") as error:
        Wording({language: body})
    assert said in error.value.message
