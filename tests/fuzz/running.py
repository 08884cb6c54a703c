"""Run one fuzz target for a while, in a process of its own."""

import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.fuzz.targets import TARGETS, inputs

FOLDER = Path("build/fuzz")
PATIENCE = 20.0  # seconds for one input, on however busy a machine


def fuzz(target: str, *, first: int, seconds: float) -> dict[str, Any]:
    """Run a target until the time is over or an input fails."""
    signal.signal(signal.SIGALRM, _too_slow)
    began, slowest, count, failure = time.monotonic(), 0.0, 0, ""
    for number, data in inputs(target, first):
        start = time.monotonic()
        if start - began > seconds:
            break
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        try:
            TARGETS[target].run(data)
        except Exception:  # noqa: BLE001 - whatever it is, it is what we are looking for
            path = FOLDER / f"{target}-{number}.bin"
            path.write_bytes(data)
            print(f"{target}: input {number} fails, see {path}", traceback.format_exc(), sep="\n", file=sys.stderr)
            failure = f"input {number} fails"
            break
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        slowest, count = max(slowest, time.monotonic() - start), count + 1
    spent = time.monotonic() - began
    return {"target": target, "inputs": count, "seconds": spent, "slowest_ms": 1000 * slowest, "failure": failure}


def _too_slow(_number: int, _frame: object) -> None:
    raise TimeoutError(f"slower than {PATIENCE:g} s")
