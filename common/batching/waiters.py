"""Waiting writers, woken one at a time, in the order in which they came."""

import asyncio
import math
from collections import deque
from collections.abc import Callable


class Waiters:
    """A queue of those who wait, and one alarm clock for all of them.

    `recheck` is called whenever work may be due: when somebody begins to wait, when the clock rings, and when a
    writer is cancelled after it was woken.
    """

    def __init__(self, recheck: Callable[[], None]) -> None:
        self._recheck = recheck
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._clock: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def wait(self) -> None:
        """Wait to be woken."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._recheck()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._recheck()
            raise
        finally:
            if future in self._waiting:
                self._waiting.remove(future)

    def wake_one(self) -> None:
        """Wake the writer that has waited longest."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return

    def wake_all(self) -> None:
        """Wake everybody."""
        while self._waiting:
            self.wake_one()

    def set_clock(self, when: float | None) -> None:
        """Recheck at this time of the loop; None: only when something happens."""
        if self._clock is not None:
            self._clock.cancel()
        self._clock = None if when is None else asyncio.get_running_loop().call_at(whole(when), self._ring)

    def _ring(self) -> None:
        self._clock = None
        self._recheck()


def whole(when: float) -> float:
    """Round a time up to a whole millisecond.

    uvloop's timers know no others. One that rings too early is set again, and rings again at once, until its time
    has come.
    """
    return max(when, math.ceil(when * 1000) / 1000)  # the quotient may be smaller by the last bit
