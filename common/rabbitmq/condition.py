"""Wait until something is so, without looking at the clock."""

import asyncio
from collections.abc import Callable


class Condition:
    """Whoever changes a fact says so; whoever waits for one looks again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Have everybody who waits look again."""
        self._event.set()

    async def until(self, fact: Callable[[], object]) -> None:
        """Return once the fact holds; at once if it does already."""
        while not fact():
            # Everybody who waits now wakes at the next notice, whoever clears the event after it.
            self._event.clear()
            await self._event.wait()
