"""Write to whoever reads standard output, whatever its encoding, for as long as anybody does."""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


def write_any_text() -> None:
    """Write what standard output has no letter for (`\u00e9` where it is ASCII) as its number, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def json_text(content: Any, *, indent: int | None = None) -> str:
    """JSON for standard output: in plain letters where that can't write all of them, and valid either way."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "").replace("_", "")
    return json.dumps(content, indent=indent, ensure_ascii=encoding != "utf8")


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
