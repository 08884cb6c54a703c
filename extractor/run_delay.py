"""How long this process was ready to compute while no core was free for it, as Linux counts it."""

import os
from contextlib import suppress
from functools import cache

_BYTES = 64
"""Three numbers, in nanoseconds but for the last: run, waited, times."""


def run_delay() -> float:
    """Seconds, of the main thread since its start; 0 if the system does not tell.

    What a limit of the container's CPU makes it wait counts, too. It takes a microsecond.
    """
    with suppress(OSError, ValueError, IndexError):
        return int(os.pread(_opened(os.getpid()), _BYTES, 0).split()[1]) / 1e9
    return 0.0


@cache
def _opened(pid: int) -> int:
    """Open it once a process: a fork would read what its parent waited."""
    return os.open(f"/proc/{pid}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
