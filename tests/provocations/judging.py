"""Whether what was found is what was to be found. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from spindle.advice.limits import Limit
from spindle.advice.phases import HEALTHY


@dataclass(frozen=True, slots=True)
class Row:
    """One situation and what was said of it. `seconds`: that it took in all."""

    name: str
    how: str
    expected: str
    found: tuple[tuple[str, float], ...] = ()
    """Each finding, with its share."""
    limit: str | None = None
    verdict: str = ""
    change: str = ""
    """Of the expected finding."""
    seconds: float = 0.0
    is_right: bool = False
    error: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)


def row_of(
    name: str, how: str, expected: Limit, beside: Collection[Limit], advice: Mapping[str, Any], seconds: float
) -> Row:
    """What the command said of a service, beside what it must say."""
    findings = advice["findings"]
    return Row(
        name,
        how,
        expected,
        found=tuple((each["limit"], round(each["share"], 2)) for each in findings),
        limit=advice["limit"],
        verdict=advice["verdict"],
        change=next((each["change"] for each in findings if each["limit"] == expected), ""),
        seconds=seconds,
        is_right=is_right(expected, beside, advice),
        numbers=advice["numbers"],
    )


def is_right(expected: Limit, beside: Collection[Limit], advice: Mapping[str, Any]) -> bool:
    """Whether the expected finding was given, and no other than may be; of a healthy service, whether none was."""
    found = {finding["limit"] for finding in advice["findings"]}
    if expected in HEALTHY:
        return not found and bool(advice["judged"]) and advice["limit"] == expected
    return expected in found and found <= {expected, *beside}
