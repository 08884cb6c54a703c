"""Cancel a coroutine at exactly its n-th await: the way to test every cancellation point, not the lucky ones."""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


class CancelledAt:
    """Awaitable that runs a coroutine and cancels the running task when the coroutine suspends for the n-th time.

    `reached` tells afterwards whether it ever suspended that often; if not, it ran to its end untouched.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], *, suspension: int) -> None:
        self._coroutine = coroutine
        self._left = suspension
        self.reached = False

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._coroutine.__await__()
        try:
            waiting_for = next(inner)
            while True:
                self._count()
                try:
                    answer = yield waiting_for
                except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the coroutine under test
                    waiting_for = inner.throw(error)
                else:
                    waiting_for = inner.send(answer)
        except StopIteration as end:
            return end.value

    def _count(self) -> None:
        self._left -= 1
        task = asyncio.current_task()
        if self._left == 0 and task is not None:
            self.reached = True
            # The task is running now, so the cancellation lands on what it is about to wait for.
            task.cancel()


async def cancel_at(coroutine: Coroutine[Any, Any, Any], *, suspension: int) -> bool:
    """Run a coroutine in a task of its own, cancelled at its n-th suspension (from 1).

    Returns: whether it came that far; False means that there are no more cancellation points.
    """
    cancelled = CancelledAt(coroutine, suspension=suspension)

    async def run() -> None:
        await cancelled

    async with asyncio.TaskGroup() as group:
        group.create_task(run(), name=f"cancelled at suspension {suspension}")
    return cancelled.reached
