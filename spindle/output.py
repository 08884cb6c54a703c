"""Write to whoever reads standard output, for as long as anybody does."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

NOBODY_READS = 141
"""The exit code of a command that could not tell what it found out: as of one that SIGPIPE ends."""


class Screen(Console):
    """A console that raises where nobody reads any more, instead of ending the process with a code of its own."""

    def on_broken_pipe(self) -> None:
        """Leave it to whoever prints."""
        raise BrokenPipeError


def wide_console() -> Screen:
    """Standard output: as wide as the terminal, and as wide as our tables where there is none."""
    console = Screen()
    return console if console.is_terminal else Screen(width=140)


@contextmanager
def readers_may_leave() -> Iterator[None]:
    """Let the rest of the output go nowhere once nobody reads it (`… | head`): what was found out still counts."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        silence()


def silence() -> None:
    """Send standard output nowhere, or Python would try once more, at its end, to write what is left, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
