"""The services' counters, read over HTTP, and how far they have moved since a demo began.

A counter begins at 0 again with its process: every series carries the moment at which it began (`…_created`), so that a
new process is recognised also when it has already counted further than the old one.
"""

import re
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from common.errors import SpindleError
from common.sink import Outcome

TIMEOUT = 5.0  # seconds for one answer

_LINE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Unreachable(SpindleError):
    """A service's metrics can't be read now; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Series:
    """One counter: what became of a kind's records in a service."""

    service: str
    kind: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A counter's value, and when it began (seconds since 1970; 0 where that is not said)."""

    value: int = 0
    began: float = 0.0


@dataclass(frozen=True, slots=True)
class Scrape:
    """One process's answer. `unsettled` and `connected` are by service and kind."""

    counters: Mapping[Series, Reading] = field(default_factory=dict)
    unsettled: Mapping[tuple[str, str], int] = field(default_factory=dict)
    connected: Mapping[tuple[str, str], bool] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether the process is connected and has nothing to do: a consumer holds what there is in its queue."""
        return bool(self.connected) and all(self.connected.values()) and not any(self.unsettled.values())


def scrape(url: str) -> Scrape:
    """Ask a process for its metrics.

    Raises: Unreachable.
    """
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=TIMEOUT) as answer:  # noqa: S310  (the stack's own)
            return parse(answer.read().decode())
    except OSError as error:
        raise Unreachable(f"{url}/metrics does not answer: {error}") from error


def parse(text: str) -> Scrape:
    """Read what is needed of Prometheus's text format; our label values need no unescaping."""
    values: dict[Series, int] = {}
    began: dict[Series, float] = {}
    unsettled: dict[tuple[str, str], int] = {}
    connected: dict[tuple[str, str], bool] = {}
    for name, labels, value in _samples(text):
        service, kind = labels.get("service", ""), labels.get("kind", "")
        match name:
            case "spindle_records_total":
                values[Series(service, kind, labels["outcome"])] = int(value)
            case "spindle_records_created":
                began[Series(service, kind, labels["outcome"])] = value
            case "spindle_unacknowledged_deliveries":
                unsettled[service, kind] = int(value)
            case "spindle_broker_connected":
                connected[service, kind] = bool(value)
    counters = {series: Reading(value, began.get(series, 0.0)) for series, value in values.items()}
    return Scrape(counters, unsettled, connected)


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        if found := _LINE.fullmatch(line):
            yield found["name"], dict(_LABEL.findall(found["labels"] or "")), float(found["value"])


class Movement:
    """How far the counters have moved since the beginning, over all processes and their restarts."""

    def __init__(self, beginning: Mapping[str, Scrape]) -> None:
        """`beginning`: what each process said before the load, by the process's name."""
        self._last = dict(beginning)
        self._moved: Counter[Series] = Counter()
        self._silent: set[str] = set()
        self.restarted: set[str] = set()
        """The services of which a process began again: what it counted after our last look is lost."""

    def observe(self, process: str, scrape: Scrape) -> None:
        """Take in what a process says now; one that was not there at the beginning counts from 0."""
        last = self._last.get(process, Scrape()).counters
        for series, before in last.items():
            now = scrape.counters.get(series)
            if now is None or now.value < before.value or now.began != before.began:
                self.restarted.add(series.service)
        for series, now in scrape.counters.items():
            before = last.get(series, Reading())
            continued = now.began == before.began and now.value >= before.value
            self._moved[series] += now.value - (before.value if continued else 0)
        self._last[process] = scrape
        self._silent.discard(process)

    def lose(self, process: str) -> None:
        """Note that a process does not answer now."""
        self._silent.add(process)

    def outcomes(self, service: str, kind: str) -> dict[Outcome, int]:
        """What became of a kind's records in a service."""
        return {outcome: self._moved[Series(service, kind, outcome)] for outcome in Outcome}

    def settled(self, service: str, kind: str) -> int:
        """How many records have come to any end."""
        return sum(self.outcomes(service, kind).values())

    def idle(self, service: str) -> bool:
        """Whether, at the last look, nothing was left to do for a service."""
        own = {
            process: scrape
            for process, scrape in self._last.items()
            if any(name == service for name, _ in scrape.connected)
        }
        return bool(own) and self._silent.isdisjoint(own) and all(scrape.idle for scrape in own.values())
