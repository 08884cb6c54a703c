"""Bar charts as SVG text, readable on a light and on a dark page. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _LABELS, _VALUES = 760, 230, 90
_BAR, _GAP, _TOP = 16, 8, 44
_STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #57606a }
.title { font-size: 14px; font-weight: 600 }
.ours { fill: #2da44e } .other { fill: #8c959f } .whisker { stroke: #24292f; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #adbac7 } .ours { fill: #46954a } .other { fill: #636e7b } .whisker { stroke: #cdd9e5 }
}"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a chart: a median, and the least and the most of all rounds."""

    label: str
    value: float
    low: float
    high: float
    is_ours: bool


def chart(title: str, bars: Sequence[Bar]) -> str:
    """One bar below the other, with whiskers from the least to the most."""
    most = max((bar.high for bar in bars), default=0.0) or 1.0
    scale = (_WIDTH - _LABELS - _VALUES) / most
    height = _TOP + len(bars) * (_BAR + _GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="8" y="24">{escape(title)}</text>',
        *(part for place, bar in enumerate(bars) for part in _drawn(bar, _TOP + place * (_BAR + _GAP), scale)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _drawn(bar: Bar, top: int, scale: float) -> list[str]:
    middle, baseline = top + _BAR / 2, top + _BAR - 4
    low, high = (_LABELS + value * scale for value in (bar.low, bar.high))
    return [
        f'<text x="{_LABELS - 8}" y="{baseline}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="{"ours" if bar.is_ours else "other"}" x="{_LABELS}" y="{top}" '
        f'width="{bar.value * scale:.1f}" height="{_BAR}" rx="2"/>',
        f'<line class="whisker" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>',
        f'<text x="{high + 8:.1f}" y="{baseline}">{shown(bar.value)}</text>',
    ]


def shown(value: float) -> str:
    """A number with as many digits as say something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
