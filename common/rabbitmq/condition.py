"""Wait until something is so, without looking at the clock."""

import asyncio
from collections.abc import Callable


class Condition:
    """One side says that a fact has changed; the other side waits for it, and looks again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Have everybody who waits look again."""
        self._event.set()

    async def until(self, fact: Callable[[], object]) -> None:
        """Return once the fact holds; at once if it does already."""
        while not fact():
            # All who wait now wake at the next notice, also if one of them clears the event after it.
            self._event.clear()
            await self._event.wait()
