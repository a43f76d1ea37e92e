"""How many a crowd is, and with which reactions, where only some of it are known by name. Pure."""

from collections.abc import Iterable, Sequence


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
