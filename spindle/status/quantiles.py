"""Quantiles of a histogram, and of what has come to it lately. Pure."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

Buckets = Mapping[float, float]
"""Cumulative counts by upper bound; the last bound is infinite."""

WINDOW = 60.0
"""Seconds that a watcher looks back over: what was slow an hour ago is no news."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from publish to commit."""

    p50: float
    p95: float
    p99: float


def latency_of(buckets: Buckets) -> Latency | None:
    """What a histogram says; None if nothing was observed."""
    if not buckets or max(buckets.values()) <= 0:
        return None
    return Latency(*(quantile(share, buckets) for share in (0.5, 0.95, 0.99)))


def quantile(share: float, buckets: Buckets) -> float:
    """The value below which this share lies, taken as evenly spread within its bucket, as Prometheus takes it.

    Above the last finite bound that bound is the answer: more is not known.
    """
    bounds = sorted(buckets)
    rank = share * buckets[bounds[-1]]
    below, start = 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank:
            if bound == float("inf"):
                break
            return start + (bound - start) * ((rank - below) / (count - below) if count > below else 1.0)
        below, start = count, bound
    return start


class Recent:
    """What histograms have taken in over the last minute, or since the last look where that is longer ago.

    Each look adds one; until there are two it is all that they have taken in.
    """

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Mapping[str, Buckets]]] = deque()

    @property
    def window(self) -> float | None:
        """Seconds that the last answer looked back over; None: to the histograms' begin."""
        return self._looks[-1][0] - self._looks[0][0] if len(self._looks) > 1 else None

    def observe(self, at: float, said: Mapping[str, Buckets]) -> dict[str, Buckets]:
        """Note histograms by name, as they are at this time (seconds of one clock).

        Returns: what is new in each since the oldest look of the window; all of one that began again since.
        """
        # The last look stays, however long ago: its window is then the time between two looks.
        while len(self._looks) > 1 and at - self._looks[0][0] > WINDOW:
            self._looks.popleft()
        before = self._looks[0][1] if self._looks else {}
        self._looks.append((at, said))
        return {name: _since(before.get(name, {}), buckets) for name, buckets in said.items()}


def _since(before: Buckets, now: Buckets) -> Buckets:
    grown = {bound: count - before.get(bound, 0.0) for bound, count in now.items()}
    return grown if all(count >= 0 for count in grown.values()) else now
