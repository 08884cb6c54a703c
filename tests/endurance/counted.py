"""`python -m tests.endurance.counted tableinator`: the service as it is, which also says how many tasks its loop has.

The services' own metrics leave that out: outside of a test nobody asks.
"""

import asyncio
import runpy
import sys
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from common import service
from common.service import fast_loop
from common.telemetry.metrics import REGISTRY

METRIC = "endurance_tasks"


class Loops:
    """Remembers the loops that are made: metrics are asked for in another thread."""

    def __init__(self) -> None:
        self.made: list[asyncio.AbstractEventLoop] = []

    def factory(self) -> Callable[[], asyncio.AbstractEventLoop]:
        """What the service makes its loop with."""
        make = fast_loop() or asyncio.new_event_loop

        def remember() -> asyncio.AbstractEventLoop:
            self.made.append(make())
            return self.made[-1]

        return remember


class Tasks(Collector):
    """Tasks of all loops that have not ended."""

    def __init__(self, loops: Loops) -> None:
        self._loops = loops

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count them."""
        count = sum(len(asyncio.all_tasks(loop)) for loop in self._loops.made)
        yield GaugeMetricFamily(METRIC, "Tasks that have not ended", value=count)


if __name__ == "__main__":
    loops = Loops()
    service.fast_loop = loops.factory
    REGISTRY.register(Tasks(loops))
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__")
