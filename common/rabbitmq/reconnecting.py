"""How long to wait before connecting again, and what to say of it: the same for all who keep a connection."""

import asyncio

from common.backoff import delays

STEADY = 10.0
"""Seconds that a connection must have lasted for the next one to be tried at once again."""


class Reconnecting:
    """One outage after the other of one who keeps a connection."""

    def __init__(self, *, steady: float = STEADY) -> None:
        self._steady = steady
        self._delays = delays()
        self._began = 0.0
        self.complaint = ""
        """What is the matter; empty if nothing is."""

    def begin(self) -> None:
        """A connection is tried now."""
        self._began = asyncio.get_running_loop().time()

    def connected(self) -> None:
        """It can be used: what was the matter before is said again when it comes back."""
        self.complaint = ""

    def delay(self) -> float:
        """Seconds to wait before the next one is tried, now that this one has ended."""
        if asyncio.get_running_loop().time() - self._began >= self._steady:
            self._delays = delays()
        return next(self._delays)

    def is_news(self, complaint: str) -> bool:
        """Whether something else is the matter than was said last: it is said once, for as long as it is the same."""
        is_news, self.complaint = complaint != self.complaint, complaint
        return is_news
