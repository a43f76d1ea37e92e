"""Puts a message into words: texts are data, one file per language, and plural forms are CLDR's (through Babel).

A language is a JSON file like `texts/en.json`; the host app may replace ours and add others. Which plural forms a
language has is for CLDR to say (unicode.org/reports/tr35/tr35-numbers.html, Language Plural Rules), and a file that
lacks one of them is refused when it is read. Refuses to know how a message travels.
"""

import string
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import msgspec
from babel import Locale, UnknownLocaleError
from babel.numbers import format_decimal

from plaudit.domain.errors import Invalid
from plaudit.domain.summary import others

DEFAULT = "en"
MAX_WORDS = 500


class Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"and_": "and"}):
    """The texts of one language. Plural forms go by the number of people (`reacted`, `liked`) or by `n`."""

    title: str
    reacted: dict[str, str]
    liked: dict[str, str]
    people: dict[str, str]
    others: dict[str, str]
    comma: str
    and_: str
    what: dict[str, str]
    titled: str


class Worded(NamedTuple):
    """A message in somebody's language."""

    locale: str
    title: str
    body: str


_FIELDS = {
    "title": set[str](),
    "reacted": {"who", "what"},
    "liked": {"who", "what"},
    "people": {"n"},
    "others": {"n"},
    "comma": {"first", "next"},
    "and_": {"first", "next"},
    "what": set[str](),
    "titled": {"what", "title"},
}
_PLURAL = ("reacted", "liked", "people", "others")
_decoder = msgspec.json.Decoder(Texts)


class Wording:
    """Every language there is. `replaced` holds files of the host app by language: they win over ours.

    Raises `Invalid` with the language and the text that is wrong.
    """

    def __init__(self, replaced: Mapping[str, bytes] | None = None) -> None:
        found = {f.name: f.read_bytes() for f in (files("plaudit.services") / "texts").iterdir()}
        sources = {name.removesuffix(".json"): body for name, body in found.items()}
        sources.update(replaced or {})
        self._languages = {name: _checked(name, body) for name, body in sources.items()}
        self._by_tag = {name.lower(): name for name in self._languages}

    def language(self, locale: str | None) -> str:
        """The language for a BCP 47 tag: itself, what it is a kind of (pt-BR: pt), or English."""
        parts = (locale or "").replace("-", "_").lower().split("_")
        for length in range(len(parts), 0, -1):
            if name := self._by_tag.get("_".join(parts[:length])):
                return name
        return DEFAULT

    def words(
        self,
        locale: str | None,
        *,
        target_type: str,
        title: str | None,
        names: Sequence[str],
        total: int,
        all_likes: bool,
    ) -> Worded:
        """Say that `total` people reacted, of whom `names` (newest first) are known; three are named, or else two."""
        name = self.language(locale)
        texts, its = self._languages[name]
        named = list(names[: total - others(names, total)])
        who = self._people(texts, its, named, total - len(named))
        what = texts.what.get(target_type) or texts.what["*"]
        if title is not None:
            what = texts.titled.format(what=what, title=title)
        forms = texts.liked if all_likes else texts.reacted
        body = forms[_form(its, total)].format(who=who, what=what)
        return Worded(name.replace("_", "-"), texts.title, body[:MAX_WORDS])

    def _people(self, texts: Texts, its: Locale, named: list[str], rest: int) -> str:
        if rest or not named:
            forms = texts.others if named else texts.people
            named = [*named, forms[_form(its, rest)].format(n=_digits(its, rest))]
        text = named[0]
        for next_ in named[1:-1]:
            text = texts.comma.format(first=text, next=next_)
        return texts.and_.format(first=text, next=named[-1]) if len(named) > 1 else text


@lru_cache(10_000)
def _form(its: Locale, number: int) -> str:
    return str(its.plural_form(number))


@lru_cache(10_000)
def _digits(its: Locale, number: int) -> str:
    return format_decimal(number, locale=its)


def _checked(name: str, body: bytes) -> tuple[Texts, Locale]:
    try:
        its = Locale.parse(name)
    except (ValueError, UnknownLocaleError) as error:
        raise _wrong(name, f"CLDR knows no such language: {error}") from error
    try:
        texts = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _wrong(name, str(error)) from error
    forms = {"other", *its.plural_form.tags}
    for field in _PLURAL:
        if missing := forms - set(getattr(texts, field)):
            raise _wrong(name, f"{field} lacks the plural form {', '.join(sorted(missing))}")
    if "*" not in texts.what:
        raise _wrong(name, "what lacks *, which stands for every type it does not name")
    for field, allowed in _FIELDS.items():
        found = getattr(texts, field)
        for text in found.values() if isinstance(found, dict) else [found]:
            _check_marks(name, field, text, allowed)
    return texts, its


def _check_marks(name: str, field: str, text: str, allowed: set[str]) -> None:
    """Every mark that the text is filled in at must be one of ours, plainly: `{who.__class__}` is not."""
    try:
        marks = [(mark, spec, conversion) for _, mark, spec, conversion in string.Formatter().parse(text)]
    except ValueError as error:
        raise _wrong(name, f"{field}: {error}") from error
    for mark, spec, conversion in marks:
        if mark is not None and (mark not in allowed or spec or conversion):
            shown = ", ".join(f"{{{field}}}" for field in sorted(allowed)) or "none"
            raise _wrong(name, f"{field}: {{{mark}}} is unknown; the marks here are: {shown}")


def _wrong(name: str, what: str) -> Invalid:
    return Invalid("invalid_setting", f"notification_texts: {name}.json: {what}")
