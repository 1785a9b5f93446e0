"""Curves by generation -> small panels beside each other, as SVG text: many, and each so plain that
it is written as it is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from math import ceil, floor, isfinite, log10

#: Panels in a row, and the size of each with its margins, points.
COLUMNS = 3
WIDTH, HEIGHT = 216, 122
LEFT, RIGHT, ABOVE, BELOW = 40, 8, 18, 20
#: Intervals between ticks at most, across and upwards.
ACROSS, UPWARDS = 5, 4
#: What steps between ticks may be, times a power of 10.
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
INK = 'stroke="currentColor"'


def panels(x: Sequence[int], curves: Mapping[str, Sequence[float]], color: str) -> str:
    """Return a panel for each curve, by its title, with a gap wherever a value is not finite."""
    rows = ceil(len(curves) / COLUMNS)
    title = escape("; ".join(curves))
    drawn = []
    for place, (name, values) in enumerate(curves.items()):
        row, column = divmod(place, COLUMNS)
        inner = "".join(_panel(x, values, name, color))
        drawn.append(f'<g transform="translate({column * WIDTH} {row * HEIGHT})">{inner}</g>')
    width, height = COLUMNS * WIDTH, rows * HEIGHT
    return (
        f'<svg role="img" aria-label="{title}" width="{width}pt" height="{height}pt" '
        f'viewBox="0 0 {width} {height}" font-size="8"><title>{title}</title>{"".join(drawn)}</svg>'
    )


def _panel(x: Sequence[int], values: Sequence[float], name: str, color: str) -> Iterator[str]:
    yield f'<text x="{LEFT}" y="{ABOVE - 6}" font-size="9">{escape(name)}</text>'
    across = _ends(x)
    up = _ends([v for v in values if isfinite(v)])
    left, right, top, bottom = LEFT, WIDTH - RIGHT, ABOVE, HEIGHT - BELOW

    def at(value: float) -> str:
        return f"{left + (value - across[0]) / (across[1] - across[0]) * (right - left):.1f}"

    def high(value: float) -> str:
        return f"{bottom - (value - up[0]) / (up[1] - up[0]) * (bottom - top):.1f}"

    for tick, label in ticks(*across, ACROSS, whole=True):
        yield f'<path d="M{at(tick)} {bottom}V{top}" {INK} stroke-opacity=".15"/>'
        yield f'<text x="{at(tick)}" y="{bottom + 11}" text-anchor="middle">{label}</text>'
    for tick, label in ticks(*up, UPWARDS):
        yield f'<path d="M{left} {high(tick)}H{right}" {INK} stroke-opacity=".15"/>'
        yield f'<text x="{left - 4}" y="{high(tick)}" dy=".35em" text-anchor="end">{label}</text>'
    yield f'<path d="M{left} {top}V{bottom}H{right}" fill="none" {INK} stroke-width=".8"/>'
    points = zip(x, values, strict=True)
    for is_known, run in groupby(points, key=lambda point: isfinite(point[1])):
        if is_known:
            line = " ".join(f"{at(g)},{high(v)}" for g, v in run)
            yield f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5"/>'
            dots = (f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}"' for p in line.split())
            yield "".join(f'{dot} r="1.8" fill="{color}"/>' for dot in dots)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Return between which values is drawn, with a little room."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.05 * (high - low) or 0.1 * max(abs(high), 1.0)
    return low - room, high + room


def ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[tuple[float, str]]:
    """Return the round numbers between two, `most` intervals apart at most, each as it is written;
    whole ones on request.
    """
    rough = (high - low) / most
    power = floor(log10(rough))
    step = next(s for s in STEPS if s * 10.0**power >= rough * (1 - 1e-9))
    decimals = max(0, -power + (step == 2.5) - (step == 10.0))
    step *= 10.0**power
    if whole and step != round(step):
        step, decimals = float(ceil(step)), 0
    numbers = [i * step for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]
    plain = decimals <= 4 and max(map(abs, numbers), default=0.0) < 1e6
    form = f".{decimals}f" if plain else ".3g"
    return [(n, format(n, form)) for n in numbers]
