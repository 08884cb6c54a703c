"""The loop of one simulation: its clock jumps, it asks no operating system, and it notices what never comes to rest."""

import asyncio
import selectors

from tests.virtual_time import VirtualTimeLoop

SPIN = 20_000
"""Turns of the loop without the clock moving: whatever is done at one moment is done by then."""
TURNS = 1_000_000
"""Turns of one simulation."""


class NoRest(Exception):
    """The loop turns and turns, and nothing comes of it."""


class _Silent(selectors.SelectSelector):
    """Knows no file that could become ready: there is only the clock."""

    now = 1000.0

    def __init__(self) -> None:
        super().__init__()
        self.turns = self._still = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NoRest("every task waits and no timer is set: this would hang for ever")
        self.turns += 1
        if timeout > 0:
            self.now += timeout
            self._still = 0
        else:
            self._still += 1
            if self._still > SPIN or self.turns > TURNS:
                raise NoRest(f"{self._still} turns of the loop in one moment, {self.turns} in all")
        return []


class SimulationLoop(VirtualTimeLoop):
    """A loop for one simulation."""

    def __init__(self) -> None:
        self._silent = _Silent()
        self._jumping = self._silent  # type: ignore[assignment]
        asyncio.SelectorEventLoop.__init__(self, self._silent)

    @property
    def turns(self) -> int:
        """How often it has turned."""
        return self._silent.turns
