"""The services' counters, read over HTTP, and how far they have moved since a demo began.

A counter begins at 0 again with its process: every series carries the moment at which it began (`…_created`), so that a
new process is recognised also when it has already counted further than the old one.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from common.ops import scraping
from common.ops.scraping import Sample, Samples
from common.outcomes import Outcome

TIMEOUT = 5.0  # seconds for one answer


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
    place = urlsplit(url)
    return read(scraping.scrape(place.hostname or "", place.port or 80, timeout=TIMEOUT))


def read(samples: Samples) -> Scrape:
    """Pick what is needed from a process's answer."""
    began = {_series(sample): sample.value for sample in samples.of("spindle_records_created")}
    return Scrape(
        {
            series: Reading(int(sample.value), began.get(series, 0.0))
            for sample in samples.of("spindle_records_total")
            for series in [_series(sample)]
        },
        {_place(sample): int(sample.value) for sample in samples.of("spindle_unacknowledged_deliveries")},
        {_place(sample): bool(sample.value) for sample in samples.of("spindle_broker_connected")},
    )


def _series(sample: Sample) -> Series:
    return Series(*_place(sample), sample.labels["outcome"])


def _place(sample: Sample) -> tuple[str, str]:
    return sample.labels["service"], sample.labels["kind"]


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
