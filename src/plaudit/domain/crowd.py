"""How many a crowd is, and with which reactions, where only some of it are known by name. Pure."""

from collections.abc import Iterable, Sequence

from plaudit.domain.cell import Transition, apply_to_counts


def split_of_crowd(grown: Iterable[Sequence[int]], known: dict[int, int]) -> dict[int, int]:
    """The split of more users than are known: together as many as the counts of cells have `grown` by, where reactions
    of before were taken back too, and never fewer than the known ones."""
    total: dict[int, int] = {}
    for cell in grown:
        for code, more in enumerate(cell, 1):
            total[code] = total.get(code, 0) + more
    split = {code: max(known.get(code, 0), total.get(code, 0)) for code in sorted({*known, *total})}
    unknown = sum(split.values()) - sum(known.values())
    over = min(unknown, sum(split.values()) - sum(total.values()))
    for code, count in split.items():
        its = count - known.get(code, 0)
        less = over * its // max(1, unknown)  # in proportion; the last one takes what is left
        split[code], unknown, over = count - less, unknown - its, over - less
    return {code: count for code, count in split.items() if count}


def counted(counts: tuple[int, ...], taps: Iterable[Transition], *, back: bool = False) -> tuple[int, ...]:
    """`counts` with what these taps did to them, or without it (`back`)."""
    return apply_to_counts(counts, [_moved(tap, back=back) for tap in taps])


def reaction_before(tap: Transition) -> int:
    """The reaction before. Of a republished state it is not known: news only if it is the user's first ever."""
    if tap.before is not None:
        return tap.before
    return 0 if tap.created_at == tap.at else tap.after or 1


def _moved(tap: Transition, *, back: bool) -> Transition:
    """What it did to the counts, or what undoes that. Of a republished state that is known of a first reaction."""
    before = tap.before if tap.before is not None else reaction_before(tap) and tap.after
    before, after = (tap.after, before) if back else (before, tap.after)
    return Transition(tap.user, before, after, tap.created_at, tap.at)
