"""How long to wait before connecting again: the same for all who keep a connection."""

import asyncio

from common.backoff import DEFAULT, Backoff

STEADY = 10.0
"""Seconds that an attempt and its connection must have lasted for the next one to be tried at once again."""


class Reconnecting:
    """One outage after the other of one who keeps a connection."""

    def __init__(self, *, steady: float = STEADY, backoff: Backoff = DEFAULT) -> None:
        self._steady, self._backoff = steady, backoff
        self._delays = backoff.delays()
        self._began = 0.0

    def begin(self) -> None:
        """A connection is tried now."""
        self._began = asyncio.get_running_loop().time()

    def delay(self) -> float:
        """Seconds to wait before the next one is tried, now that this one has ended."""
        if asyncio.get_running_loop().time() - self._began >= self._steady:
            self._delays = self._backoff.delays()
        return next(self._delays)
