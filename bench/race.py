"""How a consumer is timed, whichever it is: by what its store holds, seen from outside.

The queue holds all records before the consumer starts. The span begins when the first part of them is committed, and
what is committed by then is not counted: so neither imports nor connecting nor a first empty prefetch weigh in. It ends
when the last record is committed. The store is looked at every 10 ms through one connection of the bench's own.
"""

import asyncio
from typing import Protocol

from bench.arms import Watch

LOOK = 0.01
"""Seconds between two looks: half a percent of a span of two seconds."""


class Course(Protocol):
    """A store, as a race is followed in it."""

    async def passed_start(self) -> int | None:
        """How many records are committed, once the first part is; None until then. Cheap while it is None."""

    async def passed_finish(self) -> bool:
        """Whether every record is committed."""

    @property
    def records(self) -> int:
        """How many there are."""


async def race(watch: Watch, course: Course, *, limit: float = 300.0) -> int:
    """Follow a consumer that was started to the end. Returns: how many records lay between start and finish.

    Raises: TimeoutError.
    """
    async with asyncio.timeout(limit):
        while (before := await course.passed_start()) is None:
            await asyncio.sleep(LOOK)
        watch.start()
        while not await course.passed_finish():
            await asyncio.sleep(LOOK)
        watch.stop()
    return course.records - before
