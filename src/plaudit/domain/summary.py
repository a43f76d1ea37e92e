"""The sentence under a post: "Alice, Bob and 1,232 others"."""

from collections.abc import Sequence


def summary_text(names: Sequence[str], total: int, *, all_likes: bool) -> str:
    """The sentence for `total` reactors of whom `names` (newest first, at most three) are known.

    Empty for nobody. "Liked by …" where every reaction is a like. Digits are grouped as in English.
    """
    if total <= 0:
        return ""
    text = _people(names, total)
    return f"Liked by {text}" if all_likes else text


def others(names: Sequence[str], total: int) -> int:
    """How many reactors the sentence does not name."""
    return total - _named(names, total)


def _named(names: Sequence[str], total: int) -> int:
    """Three people are all named; of more, the newest two."""
    known = min(len(names), total, 3)
    return known if known == total else min(known, 2)


def _people(names: Sequence[str], total: int) -> str:
    named = list(names[: _named(names, total)])
    rest = total - len(named)
    if not named:
        return "1 person" if total == 1 else f"{total:,} people"
    if rest:
        named.append("1 other" if rest == 1 else f"{rest:,} others")
    if len(named) == 1:
        return named[0]
    return f"{', '.join(named[:-1])} and {named[-1]}"
