"""Time, as fetching needs it: tests bring their own, in which two weeks take no time."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What tells the time and waits."""

    def now(self) -> float:
        """Seconds, since any moment, that never go back."""

    def utc(self) -> datetime:
        """The date and time of the world."""

    def sleep(self, seconds: float) -> None:
        """Wait so long."""


class SystemClock:
    """The machine's."""

    def now(self) -> float:
        """Since the machine started."""
        return time.monotonic()

    def utc(self) -> datetime:
        """As the machine has it."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait; a signal that raises ends it."""
        time.sleep(seconds)
