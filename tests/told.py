"""A command of `spindle` in this process: as in one of its own, without the second of CPU time that it takes to begin.

That a process of its own does the same, with a terminal, another encoding, a reader who leaves or a signal, is seen
where tests start one.
"""

import asyncio
import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest

from common.telemetry import logs
from spindle.cli import main


@dataclass(frozen=True, slots=True)
class Told:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


async def told(arguments: Sequence[str], environ: Mapping[str, str]) -> Told:
    """Run a command to its end, with nobody to ask; `environ` is added to this process's environment."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as environment, redirect_stdout(out), redirect_stderr(err):
        for name, value in environ.items():
            environment.setenv(name, value)
        environment.setattr("sys.stdin", io.StringIO())
        logs.configure("spindle", level="warning")
        code = await asyncio.to_thread(_run, arguments)
    return Told(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))


def _run(arguments: Sequence[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as end:  # of wrong arguments
        return int(end.code or 0)
