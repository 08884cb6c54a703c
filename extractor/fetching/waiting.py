"""How long to wait before a server is asked again, and for how long at all."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from common.backoff import Backoff
from extractor.fetching.clock import Clock

MOST = 900.0
"""Seconds that a `Retry-After` is obeyed for: after more, the server is asked whether it still means that."""

SLOWEST = 1000.0
"""Bytes per second, over all of our patience: at less, a dump of gigabytes takes months."""

BACKOFF = Backoff(base=1.0, cap=60.0)
"""Below a second a server that is down is only burdened, and above a minute its return is missed."""


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


class Pace:
    """Whether one answer's bytes come fast enough: a byte now and then keeps a connection open, and brings no file."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self._since, self._bytes = clock.now(), 0

    def keeps_up(self, count: int) -> bool:
        """So many more bytes have come. Returns: False if they were less than `SLOWEST` for so many seconds."""
        self._bytes += count
        passed = self._clock.now() - self._since
        if passed <= self._seconds:
            return True
        is_slow = self._bytes < SLOWEST * passed
        self._since, self._bytes = self._clock.now(), 0
        return not is_slow


class Patience:
    """How long nothing may come, or less than `SLOWEST`. Waits between two attempts grow, and begin again when enough
    has come.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self._begin()

    def _begin(self) -> None:
        self._since, self._bytes = self._clock.now(), 0
        self._delays = BACKOFF.delays()

    @property
    def is_over(self) -> bool:
        """Whether it has lasted too long."""
        return self._clock.now() - self._since > self._seconds

    def progress(self, count: int) -> None:
        """So many bytes have come that were never here before."""
        self._bytes += count
        if self._bytes >= SLOWEST * (self._clock.now() - self._since):
            self._begin()

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
