"""Compare two results: which figures have changed by more than they vary by themselves.

`python -m bench.compare OLD NEW`. Exit codes: 0 nothing got worse; 1 something did; 2 they can't be compared.
"""

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.figures import Figure
from bench.report import read

LEAST, FEW_ROUNDS, LEAST_OF_FEW = 0.05, 3, 0.25
"""Relative change below which nothing is said, however alike the rounds of a run were among themselves; and below which
nothing is said where a run had fewer rounds than these, so that its noise is not known."""


_SIZE = ("records", "graph_records", "seed")
"""Settings that make another bench."""


class Change(StrEnum):
    """What has become of a figure."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    UNKNOWN = "not measured in both"


def changes(old: Mapping[str, Figure], new: Mapping[str, Figure]) -> dict[str, Change]:
    """What has become of every figure that either has."""
    return {key: _change(old.get(key), new.get(key)) for key in {**old, **new}}


def _change(old: Figure | None, new: Figure | None) -> Change:
    if old is None or new is None or old.value is None or new.value is None:
        return Change.UNKNOWN
    within = _is_within(old.value, new) or _is_within(new.value, old)
    least = LEAST_OF_FEW if min(len(old.rounds), len(new.rounds)) < FEW_ROUNDS else LEAST
    if within or abs(new.value - old.value) <= least * abs(old.value):
        return Change.SAME
    return Change.BETTER if (new.value > old.value) == (new.better == "more") else Change.WORSE


def _is_within(value: float, figure: Figure) -> bool:
    """Whether a value lies where this figure's own rounds were: its noise."""
    assert figure.min is not None
    assert figure.max is not None
    return figure.min <= value <= figure.max


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison; return the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 2:
        print("usage: python -m bench.compare OLD NEW", file=sys.stderr)
        return 2
    try:
        results = [read(Path(each)) for each in arguments]
    except (OSError, msgspec.MsgspecError) as error:
        print(f"not a result of the bench: {error}", file=sys.stderr)
        return 2
    sizes = [[each.settings.get(name) for name in _SIZE] for each in results]
    if sizes[0] != sizes[1]:
        print(f"not comparable: {' and '.join(_SIZE)} are {sizes[0]} and {sizes[1]}", file=sys.stderr)
        return 2
    old, new = (each.figures for each in results)
    found = changes(old, new)
    _show(old, new, found)
    if set(found.values()) == {Change.UNKNOWN}:
        print("not comparable: no figure was measured in both", file=sys.stderr)
        return 2
    return 1 if Change.WORSE in found.values() else 0


def _show(old: Mapping[str, Figure], new: Mapping[str, Figure], found: Mapping[str, Change]) -> None:
    table = Table("figure", "old", "new", "change")
    for key, change in found.items():
        table.add_row(key, _text(old.get(key)), _text(new.get(key)), change)
    Console(width=100).print(table)


def _text(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "–"
    return f"{figure.value:.4g} ({figure.min:.4g} to {figure.max:.4g})"


if __name__ == "__main__":
    raise SystemExit(main())
