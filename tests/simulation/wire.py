"""One direction of a connection: in order, late, and until it is cut."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any


def answered(answer: "asyncio.Future[None]") -> None:
    """The other end has answered: the one who asked goes on, if still there."""
    if not answer.done():
        answer.set_result(None)


class Wire:
    """What is sent arrives in the order of sending, after the wire's latency, unless the wire is cut by then."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._due = 0
        self._is_held = False
        self.is_cut = False

    def send(self, act: Callable[..., None], *what: Any) -> None:
        """Have this done at the other end."""
        if self.is_cut:
            return
        self._under_way.append((act, what))
        if self._latency:
            self._loop.call_later(self._latency, self._arrive)
        else:
            self._loop.call_soon(self._arrive)

    def cut(self) -> None:
        """Lose what is under way, and whatever is sent from now on."""
        self.is_cut = True
        self._under_way.clear()

    def hold(self) -> None:
        """Let nothing arrive until it is let go."""
        self._is_held = True

    def let_go(self) -> None:
        """Let all arrive that is due."""
        self._is_held = False
        due, self._due = self._due, 0
        for _ in range(due):
            self._arrive()

    def _arrive(self) -> None:
        if self._is_held:
            self._due += 1
        elif self._under_way:
            act, what = self._under_way.popleft()
            act(*what)
