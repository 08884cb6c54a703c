"""A plot as SVG that fits any width: lines are drawn in percent of it, words are HTML around it. Pure."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Points = Sequence[Mapping[str, Any]]
"""As `spindle.advice.window.series_of` gives them."""

Format = Callable[[float, float], str]
"""A value in words, in the unit that suits the second, the largest of its axis."""

_ENDS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
"""Upper ends of an axis whose half is a round number too; times a power of ten."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: the number it shows, what it is called, and which of the page's colours it has (1 to 5)."""

    key: str
    name: str
    colour: int = 1


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines over one axis. `top`: the least that its upper end is. `unit`: what the axis counts in round numbers of."""

    title: str
    lines: Sequence[Line]
    format: Format
    top: float = 0.0
    unit: float = 1.0


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time to be seen behind the lines."""

    begin: float
    end: float
    style: str


def figure(plot: Plot, points: Points, seconds: float, bands: Sequence[Band]) -> str:
    """The plot with its title, its lines' last and highest values, and its axes; empty if nothing is known of it."""
    known = {line: values for line in plot.lines if (values := _values(line, points))}
    if not known:
        return ""
    top = max(plot.top, plot.unit * _end(max(max(values) for values in known.values()) / plot.unit))
    names = "".join(
        f'<li><i class="c{line.colour}"></i>{escape(line.name)} max <b>{escape(_highest(plot, values))}</b></li>'
        for line, values in known.items()
    )
    shapes = [*_bands(bands, seconds), *_grid(), *(_path(line, points, seconds, top) for line in known)]
    label = f"{plot.title}: " + ", ".join(f"{each.name} at the most {_highest(plot, of)}" for each, of in known.items())
    return (
        f"<figure><figcaption>{escape(plot.title)}<ul>{names}</ul></figcaption>"
        f'<div class="plot"><div class="y"><span>{escape(plot.format(top, top))}</span>'
        f"<span>{escape(plot.format(top / 2, top))}</span><span>{escape(plot.format(0, top))}</span></div>"
        f'<svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
        f"{''.join(shapes)}</svg></div>"
        f'<div class="x"><span>0:00</span><span>{clock(seconds / 2)}</span><span>{clock(seconds)}</span></div></figure>'
    )


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    whole = round(seconds)
    return f"{whole // 3600} h {whole % 3600 // 60:02}" if whole >= 7200 else f"{whole // 60}:{whole % 60:02}"


def _highest(plot: Plot, values: Sequence[float]) -> str:
    return plot.format(max(values), max(values))


def _end(value: float) -> float:
    """The next round number that is not less."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(end * power for end in _ENDS if end * power >= value * (1 - 1e-9))


def _values(line: Line, points: Points) -> list[float]:
    return [float(point[line.key]) for point in points if point.get(line.key) is not None]


def _bands(bands: Sequence[Band], seconds: float) -> Iterator[str]:
    for band in bands:
        left, width = (1000 * each / seconds for each in (band.begin, band.end - band.begin))
        yield f'<rect class="{band.style}" x="{left:.1f}" y="0" width="{width:.1f}" height="100"/>'


def _grid() -> Iterator[str]:
    for y in (0.5, 50, 99.5):
        yield f'<line class="grid" x1="0" y1="{y}" x2="1000" y2="{y}"/>'


def _path(line: Line, points: Points, seconds: float, top: float) -> str:
    """A line with a gap where nothing is known."""
    parts, is_drawn = [], False
    for point in points:
        value = point.get(line.key)
        if value is None:
            is_drawn = False
            continue
        parts.append(f"{'L' if is_drawn else 'M'}{1000 * point['at'] / seconds:.1f} {100 - 99 * value / top:.2f}")
        is_drawn = True
    return f'<path class="line c{line.colour}" d="{" ".join(parts)}"/>'
