"""Say that something is wrong: at once, every 30 s with how long it has lasted, and once more when it is over.

At night nobody sees the first line, and whoever looks at the last hundred must see what is so now.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

SAY_AGAIN = 30.0
"""Seconds between two lines that say the same."""

_MANY = 20
"""Different reasons in one trouble; more than that are one that is never twice the same."""


class Trouble:
    """One thing that goes wrong and comes right, again and again. `more`: fields of each line, as they are then."""

    def __init__(self, log: Any, more: Callable[[], Mapping[str, object]] = dict) -> None:
        self._log, self._more = log, more
        self._event = self._reason = self._level = ""
        self._said: set[str] = set()
        self._since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def say(self, event: str, reason: str, *, level: str = "warning") -> None:
        """Something is wrong, or is so for another reason: each reason is said when it is new."""
        if self._since is None:
            self._since = asyncio.get_running_loop().time()
            self._set_timer()
        self._event, self._reason, self._level = event, reason, level
        if reason not in self._said and len(self._said) < _MANY:
            self._said.add(reason)
            self._put()

    def over(self, event: str) -> None:
        """It is all right again, or still is: then nothing is said."""
        if self._since is not None:
            self._log.info(event, seconds=self._seconds())
        self.leave()

    def leave(self) -> None:
        """Say no more of it: nobody waits for its end."""
        if self._timer is not None:
            self._timer.cancel()
        self._since = self._timer = None
        self._said.clear()

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SAY_AGAIN, self._say_again)

    def _say_again(self) -> None:
        self._put(seconds=self._seconds())
        self._set_timer()

    def _put(self, **fields: object) -> None:
        getattr(self._log, self._level)(self._event, reason=self._reason, **fields, **self._more())

    def _seconds(self) -> float:
        return round(asyncio.get_running_loop().time() - (self._since or 0.0), 1)
