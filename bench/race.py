"""How a consumer is timed, whichever it is: by what its store holds, seen from outside.

The queue holds all records before the consumer starts. The span begins when the first part of them is committed, and
what is committed by then is not counted: so neither imports nor connecting nor a first empty prefetch weigh in. It ends
when the last record is committed. The store is looked at every 10 ms through one connection of the bench's own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from bench.arms import Watch

LOOK = 0.01
"""Seconds between two looks: half a percent of a span of two seconds."""

T = TypeVar("T")


class Course(Protocol):
    """A store, as a race is followed in it."""

    async def passed_start(self) -> int | None:
        """How many records are committed, once the first part is; None until then. Cheap while it is None."""

    async def passed_finish(self) -> bool | None:
        """True once every record is committed; None until then."""

    @property
    def records(self) -> int:
        """How many there are."""


async def race(watch: Watch, course: Course, *, lost: Callable[[], str | None], limit: float = 300.0) -> int:
    """Follow a consumer that was started to the end. Returns: how many records lay between start and finish.

    `lost`: why it will never arrive, a sentence, or None. Raises: RuntimeError with that, TimeoutError.
    """
    async with asyncio.timeout(limit):
        before = await until(course.passed_start, lost)
        watch.start()
        await until(course.passed_finish, lost)
        watch.stop()
    return course.records - before


async def until(look: Callable[[], Awaitable[T | None]], lost: Callable[[], str | None], *, every: float = LOOK) -> T:
    """Look until there is an answer. Raises: RuntimeError with what `lost` says."""
    while (seen := await look()) is None:
        if sentence := lost():
            raise RuntimeError(sentence)
        await asyncio.sleep(every)
    return seen
