"""How long to wait before a server is asked again, and for how long at all."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from common.backoff import Delays, delays
from extractor.fetching.clock import Clock

MOST = 900.0
"""Seconds that a `Retry-After` is obeyed for: after more, the server is asked whether it still means that."""

_FIRST, _HIGHEST = 1.0, 60.0
"""Seconds: below a second a server that is down is only burdened, and above a minute its return is missed."""


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` asks for (RFC 9110, 10.2.3: seconds or a date), at most `MOST`; None if it says
    nothing that can be read.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), MOST)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:  # "-0000" says that the zone is unknown; HTTP has only GMT
        date = date.replace(tzinfo=UTC)
    return min(max(0.0, (date - now).total_seconds()), MOST)


def _backoff() -> Iterator[float]:
    return delays(_FIRST, _HIGHEST)


class Patience:
    """How long nothing may come. Waits between two attempts grow, and begin anew when something has come."""

    def __init__(self, clock: Clock, seconds: float, backoff: Delays = _backoff) -> None:
        self._clock, self._seconds, self._backoff = clock, seconds, backoff
        self.progress()

    def progress(self) -> None:
        """Something has come."""
        self._since = self._clock.now()
        self._delays = self._backoff()

    def wait(self, asked: float | None) -> bool:
        """Wait as long as the server has `asked` for, else by our own rule. Returns: False if patience is at its end,
        without a wait that could only be followed by that.
        """
        # Beside what was asked for, our own part keeps those who were all told the same from returning in step.
        seconds = next(self._delays) + (asked or 0.0)
        if self._clock.now() - self._since + seconds > self._seconds:
            return False
        self._clock.sleep(seconds)
        return True
