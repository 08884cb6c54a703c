"""Whose turn it is to write: one kind's at a time, and for that kind as many transactions as there are writers.

Two transactions of one kind lock in one order and overlap without harm, so that one computes while the other commits;
those of two kinds wait for each other crosswise. So does a kind with itself that has edges among its own nodes: each
holds nodes that the other's edges lead to. It gets one transaction.
"""

import asyncio
from collections import deque
from contextlib import AbstractAsyncContextManager, suppress

from graphinator.model import edges_of, node_of


class KindLock:
    """Turns of all kinds, given in the order in which they were asked for. `writers`: transactions at a time."""

    def __init__(self, writers: int) -> None:
        self._writers = writers
        self._kind = ""
        self._running = 0
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()

    def of(self, kind: str) -> AbstractAsyncContextManager[None]:
        """What to enter, as often as one likes, around each transaction of a kind."""
        return _Turn(self, kind)

    async def take(self, kind: str) -> None:
        """Wait for a turn."""
        if not self._waiting and self._admits(kind):
            self._admit(kind)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((kind, place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # given in the same moment
                self._running -= 1
            with suppress(ValueError):
                self._waiting.remove((kind, place))
            self._let_in()
            raise

    def give_back(self) -> None:
        """End a turn."""
        self._running -= 1
        self._let_in()

    def _let_in(self) -> None:
        """Admit those that have waited longest; nobody overtakes, or a busy kind would keep the others out."""
        while self._waiting and self._admits(self._waiting[0][0]):
            kind, place = self._waiting.popleft()
            if not place.cancelled():
                self._admit(kind)
                place.set_result(None)

    def _admits(self, kind: str) -> bool:
        return self._running == 0 or (kind == self._kind and self._running < self._most(kind))

    def _admit(self, kind: str) -> None:
        self._kind = kind
        self._running += 1

    def _most(self, kind: str) -> int:
        own = node_of(kind).label
        return 1 if any(edge.target == own for edge in edges_of(kind)) else self._writers


class _Turn(AbstractAsyncContextManager[None]):
    def __init__(self, turns: KindLock, kind: str) -> None:
        self._turns, self._kind = turns, kind

    async def __aenter__(self) -> None:
        await self._turns.take(self._kind)

    async def __aexit__(self, *_: object) -> None:
        self._turns.give_back()
