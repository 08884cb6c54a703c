"""Watch the event loop: how late it is, and how many records go through it.

A blocking call in any place makes everything late, and shows here first.
"""

import asyncio
import itertools
from collections import defaultdict, deque
from collections.abc import Callable

from common.telemetry.metrics import LOOP_LAG, RECORDS, RECORDS_PER_SECOND

_TICK = 0.1  # seconds
_WINDOW = 10.0  # seconds
_TURNS_PER_RATE = 10


async def watch_loop(service: str, *, beat: Callable[[], None]) -> None:
    """Measure forever; call `beat` at each turn."""
    loop = asyncio.get_running_loop()
    lags: deque[float] = deque(maxlen=round(_WINDOW / _TICK))
    rates = Rates()
    for turn in itertools.count():
        due = loop.time() + _TICK
        await asyncio.sleep(_TICK)
        lags.append(max(0.0, loop.time() - due))
        LOOP_LAG.labels(service).set(max(lags))
        beat()
        if turn % _TURNS_PER_RATE == 0:
            for kind, rate in rates.observe(loop.time(), _settled(service)).items():
                RECORDS_PER_SECOND.labels(service, kind).set(rate)


class Rates:
    """Increase per second of some counts over the last ten seconds."""

    def __init__(self) -> None:
        self._history: deque[tuple[float, dict[str, float]]] = deque()

    def observe(self, at: float, counts: dict[str, float]) -> dict[str, float]:
        """Note counts as they are at this time; say how fast each has grown."""
        self._history.append((at, counts))
        while at - self._history[0][0] > _WINDOW:
            self._history.popleft()
        since, before = self._history[0]
        passed = at - since
        return {name: (count - before.get(name, 0.0)) / passed if passed else 0.0 for name, count in counts.items()}


def _settled(service: str) -> dict[str, float]:
    """Records settled so far, by kind: whatever became of them."""
    counts: dict[str, float] = defaultdict(float)
    for metric in RECORDS.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total") and sample.labels["service"] == service:
                counts[sample.labels["kind"]] += sample.value
    return counts
