"""As much of PromQL as the alert rules in `deploy/prometheus` use, over what was scraped from time to time.

As Prometheus does it (prometheus.io/docs/prometheus/latest/querying): a series that appears has not increased, to
compare is to filter, and vectors meet where all their labels are equal. Rates are not extrapolated.
"""

import math
import operator
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from tests.support.scraped import Labels, Scrape

Vector = dict[Labels, float]
Scrapes = list[tuple[float, Scrape]]  # with their times in seconds, the oldest first

UNIT_S = {"s": 1, "m": 60, "h": 3600}
TOKEN = re.compile(r'"[^"]*"|=~|[<>=!]=|\d+(?:\.\d+)?[smh]?|[a-zA-Z_]\w*|\S')
COMPARED = {">": operator.gt, "<": operator.lt, "==": operator.eq}
COUNTED: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if b else a * math.inf,
}
LEVELS = (("or",), ("and",), tuple(COMPARED), ("+", "-"), ("*", "/"))
AGGREGATED: dict[str, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min}


def seconds(duration: str) -> float:
    """What 10m means."""
    return float(duration[:-1]) * UNIT_S[duration[-1]]


class Query:
    """An expression, at the time of the last of these scrapes."""

    def __init__(self, expression: str, scrapes: Scrapes) -> None:
        self._left = TOKEN.findall(expression)
        self._scrapes = scrapes
        self._now_s = scrapes[-1][0]

    def answer(self) -> Vector:
        """The series for which it holds. Raises `AssertionError` for what is not understood."""
        found = self._side(0)
        assert not self._left, f"not understood: {self._left}"
        assert isinstance(found, dict)
        return found

    def _side(self, level: int) -> Any:
        """A vector, or a number."""
        if level == len(LEVELS):
            return self._operand()
        found = self._side(level + 1)
        while sign := self._taken(*LEVELS[level]):
            found = _combined(sign, found, self._side(level + 1))
        return found

    def _taken(self, *wanted: str) -> str | None:
        return self._left.pop(0) if self._left and self._left[0] in wanted else None

    def _listed(self, opening: str, closing: str) -> list[str]:
        found = list[str]()
        if self._taken(opening):
            while not self._taken(closing):
                found.append(self._left.pop(0))
        return found

    def _operand(self) -> Any:
        if self._taken("("):
            found = self._side(0)
            assert self._taken(")")
            return found
        name = self._left.pop(0)
        if name[0].isdigit():
            return float(name)
        if name in AGGREGATED:
            by = self._listed("(", ")") if self._taken("by") else []
            groups: dict[Labels, list[float]] = {}
            for labels, value in self._operand().items():
                groups.setdefault(frozenset(each for each in labels if each[0] in by), []).append(value)
            return {labels: AGGREGATED[name](values) for labels, values in groups.items()}
        if name == "time":
            assert self._listed("(", ")") == []
            return self._now_s
        if name not in ("rate", "increase", "absent"):
            return self._selected(name)[-1]
        assert self._taken("(")
        found = self._function(name, self._left.pop(0))
        assert self._taken(")")
        return found

    def _function(self, name: str, series: str) -> Vector:
        terms, vectors = self._left[: self._left.index(")")], self._selected(series)
        if name == "absent":
            equal = frozenset(
                (terms[n - 1], terms[n + 1][1:-1]) for n, term in enumerate(terms) if term == "="
            )
            return {} if vectors[-1] else {equal: 1.0}
        grown: Vector = {}
        for before, after in pairwise(vectors):
            for labels in before.keys() & after.keys():
                step = after[labels] - before[labels]
                grown[labels] = grown.get(labels, 0.0) + (step if step >= 0 else after[labels])
        by = seconds(terms[-2]) if name == "rate" else 1
        return {labels: value / by for labels, value in grown.items()}

    def _selected(self, name: str) -> list[Vector]:
        """The series of that name with these labels, in each scrape of the window: in the last one if there is none."""
        terms = [term for term in self._listed("{", "}") if term != ","]
        wanted = [
            (label, text[1:-1] if sign == "=~" else re.escape(text[1:-1]))
            for label, sign, text in zip(terms[::3], terms[1::3], terms[2::3], strict=True)
        ]
        window_s = sum(map(seconds, self._listed("[", "]")))
        return [
            {
                labels: value
                for (series, labels), value in scrape.items()
                if series == name
                and all(re.fullmatch(text, dict(labels).get(label, "")) for label, text in wanted)
            }
            for at_s, scrape in self._scrapes
            if at_s >= self._now_s - window_s
        ]


def _combined(sign: str, left: Any, right: Any) -> Any:
    if sign == "or":
        return right | left
    if sign == "and":
        return {labels: value for labels, value in left.items() if labels in right}
    vectors = [side for side in (left, right) if isinstance(side, dict)]
    if not vectors:
        return COUNTED[sign](left, right)
    pairs = {
        labels: [side[labels] if isinstance(side, dict) else side for side in (left, right)]
        for labels in set.intersection(*map(set, vectors))
    }
    if sign in COMPARED:
        return {labels: a for labels, (a, b) in pairs.items() if COMPARED[sign](a, b)}
    return {labels: COUNTED[sign](a, b) for labels, (a, b) in pairs.items()}
