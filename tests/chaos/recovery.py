"""How long after an outage's end the next record is stored."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from common.kinds import Service
from tests.chaos.drawing import Fault
from tests.chaos.scene import Scene

_LIMIT = 60.0
_LOOK = 0.05


class Recovery:
    """Knows which troubles there are, so that what one outage cost is not put down to another."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._troubles: Counter[Service] = Counter()
        self._begun: Counter[Service] = Counter()

    @contextmanager
    def trouble(self, fault: Fault) -> Iterator[None]:
        """Be in trouble for as long as the block lasts."""
        self._troubles.update(fault.services)
        self._begun.update(fault.services)
        try:
            yield
        finally:
            self._troubles.subtract(fault.services)

    async def measure(self, fault: Fault) -> float | None:
        """Wait until each service that has noticed stores again.

        Returns: seconds, of the slowest; None if nothing is left to store, or another trouble stands in the way.
        """
        if not fault.is_outage:
            return None
        async with asyncio.TaskGroup() as tasks:
            measuring = [tasks.create_task(self._measure(service)) for service in sorted(fault.services)]
        return max((seconds for each in measuring if (seconds := each.result()) is not None), default=None)

    async def _measure(self, service: Service) -> float | None:
        began, begun = time.monotonic(), self._begun[service]
        before = await self._stored(service)
        while time.monotonic() < began + _LIMIT:
            if self._troubles[service] or self._begun[service] != begun:
                return None
            now = await self._stored(service)
            if before is None or (now is not None and now < before):
                return None  # it has been started again, and counts from nothing
            if now is not None and now > before:
                return round(time.monotonic() - began, 2)
            if self._scene.producer.is_done and await self._scene.is_empty(service):
                return None
            await asyncio.sleep(_LOOK)
        return _LIMIT

    async def _stored(self, service: Service) -> int | None:
        return await self._scene.services[service].settled()
