"""A window of time, and its points for plots. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from common.kinds import Service
from common.ops.waits import Wait
from common.outcomes import Outcome
from extractor.report import KindReport
from spindle.advice.meters import Look, Meters, meters_of

POINTS = 120
"""Of a plot, at the most: as many as one can tell apart on a telephone."""

_SEEN = 5
"""Transactions that must have been seen in the store from one point to the next."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen, from when on, and by which way."""

    looks: Sequence[Look]
    began: datetime
    source: str
    unseen: Mapping[Service, str] = field(default_factory=dict)
    """What could not be seen in a service's store, or why."""
    published: Sequence[KindReport] = ()
    """What those who published meanwhile report of themselves, if it is known."""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.looks[-1].at - self.looks[0].at

    @property
    def services(self) -> list[Service]:
        """Those that were looked at."""
        return [state.service for state in self.looks[-1].picture.services]


def series_of(looks: Sequence[Look], service: Service) -> list[dict[str, Any]]:
    """A service's points, oldest first: `at` is the end of each in seconds from the begin, null what is not known."""
    step = max(1, -(-(len(looks) - 1) // POINTS))
    chosen = [*looks[:-1:step], looks[-1]]
    whole, points = meters_of(looks, service), []
    for before, after in pairwise(chosen):
        if after.at > before.at:
            meters = meters_of([before, after], service, kind=whole.kind if whole else None)
            points.append({"at": round(after.at - looks[0].at, 1), **(numbers_of(meters) if meters else {})})
    return points


def numbers_of(meters: Meters) -> Mapping[str, float | None]:
    """The numbers that are plotted and compared. Shares are from 0 to 1, times in seconds, memory in bytes."""
    settled, latency = meters.records, meters.latency
    seen = {f"in_{wait}": round(meters.share_in(wait), 3) if meters.seen >= _SEEN else None for wait in Wait}
    return {
        "rate": round(meters.rate, 1),
        "p50": round(latency.p50, 4) if latency else None,
        "p95": round(latency.p95, 4) if latency else None,
        "p99": round(latency.p99, 4) if latency else None,
        "dead_lettered": round(meters.outcomes[Outcome.DEAD_LETTERED] / meters.seconds, 3),
        "failed": round(meters.failed / meters.seconds, 3),
        "queue": meters.backlog[-1] if meters.backlog else None,
        "hash_hits": round(meters.share_of(Outcome.UNCHANGED), 4) if settled else None,
        "batch": meters.size and round(meters.size, 1),
        "batch_limit": meters.batch,
        "memory": meters.memory,
        "broker_memory": meters.broker_memory and round(meters.broker_memory, 4),
        "writing": round(meters.writing, 4),
        "cpu": round(meters.cpu, 4),
        **seen,
    }
