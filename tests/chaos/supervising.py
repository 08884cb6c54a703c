"""A service that is started again whenever it ends, as a container's restart policy does."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from common.kinds import Service
from tests.e2e.services import Metrics, Running

T = TypeVar("T")

_POLICY = 0.3
"""Seconds from an end to the next start."""
_LOOK = 0.1
_READY = 30.0


@dataclass(slots=True)
class Drain:
    """How a service that was told to stop has ended."""

    code: int
    seconds: float


@dataclass(slots=True)
class Supervised:
    """One service over all its lives."""

    service: Service
    environment: Mapping[str, str]
    folder: Path
    lives: int = 0
    ended_by_itself: list[int] = field(default_factory=list)
    drains: list[Drain] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    rss: int = 0
    """The most bytes of memory that any of its lives had."""
    _running: Running | None = None
    _leaving: bool = False
    _expected: bool = False

    async def run(self) -> None:
        """Keep it running until it is told to stop for good."""
        while not self._leaving:
            log = self.folder / f"{self.service}-{self.lives}.log"
            self._expected = False
            running = await asyncio.to_thread(Running, self.service, self.environment, log)
            self._running, self.lives = running, self.lives + 1
            while not running.has_ended:
                self.rss = max(self.rss, running.resident_bytes())
                await asyncio.sleep(_LOOK)
            if not (self._expected or self._leaving):
                self.ended_by_itself.append(await running.end())
            await asyncio.sleep(_POLICY)

    async def until_ready(self, seconds: float = 90.0) -> None:
        """Wait until it has its broker and its store."""
        async with asyncio.timeout(seconds):
            while not await self._asks(lambda running: running.ready()[0] == 200):
                await asyncio.sleep(_LOOK)

    async def metrics(self) -> Metrics | None:
        """What it says now; None while it has nothing to say."""
        return await self._asks(lambda running: running.metrics())

    async def settled(self) -> int | None:
        """How many records the present life has brought to an end."""
        metrics = await self.metrics()
        return None if metrics is None else int(metrics.sum("spindle_records_total"))

    async def kill(self) -> None:
        """`kill -9`."""
        await self._note()
        self._expected = True
        if self._running:
            await asyncio.to_thread(self._running.kill)

    async def stop(self, *, for_good: bool = False) -> None:
        """SIGTERM, once it can hear it; without `for_good` it is started again."""
        async with asyncio.timeout(_READY):
            while await self.metrics() is None:
                await asyncio.sleep(_LOOK)
        await self._note()
        self._expected, self._leaving = True, for_good
        assert self._running
        self.drains.append(Drain(*await self._running.stop()))

    def end(self) -> None:
        """End it, however it is."""
        self._leaving = True
        if self._running:
            self._running.kill()

    async def _note(self) -> None:
        metrics = await self.metrics()
        if metrics is not None:
            self.outcomes += metrics.outcomes()

    async def _asks(self, question: Callable[[Running], T]) -> T | None:
        running = self._running
        if running is None or running.has_ended:
            return None
        try:
            return await asyncio.to_thread(question, running)
        except OSError:
            return None
