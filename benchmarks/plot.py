"""Bar charts as SVG, readable in light and dark, without a drawing library."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP = 760, 170, 60, 44
BAR, GAP, BETWEEN = 14, 3, 14
COLOURS = ("#4269d0", "#efb118", "#3ca951", "#ff725c")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}}"
    ".line{stroke:#888;stroke-dasharray:4 3}"
)


class Bar(NamedTuple):
    """One bar: what it is called in the legend, and its value."""

    name: str
    value: float


def bars(title: str, groups: Mapping[str, Sequence[Bar]], *, line: float) -> str:
    """An SVG of horizontal bars in groups, with a dashed line at the value `line`."""
    names = list(dict.fromkeys(bar.name for group in groups.values() for bar in group))
    most = max([line, *(bar.value for group in groups.values() for bar in group)])
    scale = (WIDTH - LEFT - RIGHT) / most
    parts, y = [], TOP
    for group, its_bars in groups.items():
        height = len(its_bars) * (BAR + GAP)
        parts.append(_text(LEFT - 8, y + height / 2 + 3, group, "end"))
        for bar in its_bars:
            width, colour = bar.value * scale, COLOURS[names.index(bar.name) % len(COLOURS)]
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>')
            parts.append(_text(LEFT + width + 5, y + BAR - 3, f"{bar.value:.2f}"))
            y += BAR + GAP
        y += BETWEEN
    x = LEFT + line * scale
    parts.append(f'<path class="line" d="M{x:.1f} {TOP - 6}V{y - BETWEEN + 4}"/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" aria-label="{escape(title)}">'
        f"<style>{STYLE}</style>{_text(0, 14, title)}{_legend(names)}{''.join(parts)}</svg>\n"
    )


def lines(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    across: str,
    up: str,
    marks: Mapping[str, float],
) -> str:
    """An SVG of one line per name over (x, y), from 0 to the highest; `marks`: what happens when, dashed."""
    high, left = 260, 70
    points = [point for its_points in series.values() for point in its_points]
    to_x = (WIDTH - left - RIGHT) / max(x for x, _ in points)
    most = max(y for _, y in points) or 1.0
    bottom = TOP + high
    parts = [_text(left - 8, TOP + 4, f"{most:,.0f}", "end"), _text(left - 8, bottom, "0", "end")]
    parts += [_text(0, TOP - 12, up), _text(WIDTH - RIGHT, bottom + 18, across, "end")]
    parts.append(f'<path class="axis" d="M{left} {TOP}V{bottom}H{WIDTH - RIGHT}"/>')
    for name, at in marks.items():
        x = left + at * to_x
        parts.append(f'<path class="line" d="M{x:.1f} {TOP}V{bottom}"/>' + _text(x + 4, TOP + 10, name))
    for number, its_points in enumerate(series.values()):
        path = "L".join(f"{left + x * to_x:.1f} {bottom - y / most * high:.1f}" for x, y in its_points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{COLOURS[number]}" stroke-width="2"/>')
    style = STYLE + ".axis{stroke:#888;fill:none}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 28}" role="img" '
        f'aria-label="{escape(title)}"><style>{style}</style>{_text(0, 14, title)}{_legend(list(series))}'
        f"{''.join(parts)}</svg>\n"
    )


def _legend(names: Sequence[str]) -> str:
    parts, x = [], LEFT
    for number, name in enumerate(names):
        parts.append(f'<rect x="{x}" y="22" width="10" height="10" fill="{COLOURS[number % len(COLOURS)]}"/>')
        parts.append(_text(x + 14, 31, name))
        x += 34 + 8 * len(name)
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
