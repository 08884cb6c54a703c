"""Write to whoever reads standard output, whatever its encoding, for as long as anybody does."""

import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from rich.console import Console

NOBODY_READS = 141
"""The exit code of a command that could not tell what it found out: as of one that SIGPIPE ends."""


_IN_MEMORY = 1 << 20
"""Bytes of text beyond which it waits in a temporary file."""


class Screen(Console):
    """A console that raises where nobody reads any more, instead of ending the process with a code of its own."""

    def on_broken_pipe(self) -> None:
        """Leave it to whoever prints."""
        raise BrokenPipeError


def wide_console(width: int = 140) -> Screen:
    """Standard output: as wide as the terminal, and as wide as our tables (`width` columns) if there is none."""
    console = Screen()
    return console if console.is_terminal else Screen(width=width)


def write_any_text() -> None:
    """Write what standard output has no letter for (`\u00e9` where it is ASCII) as its number, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def json_text(content: Any, *, indent: int | None = None) -> str:
    """JSON for standard output: in plain letters if that can't write all of them, and valid either way."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "").replace("_", "")
    return json.dumps(content, indent=indent, ensure_ascii=encoding != "utf8")


@contextmanager
def for_standard_output() -> Iterator[IO[str]]:
    """A file whose text goes to standard output when the block ends without an error, however much it is.

    Not at once: a reader who takes his time (`| less`) would keep the broker waiting, until it hangs up.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8", errors="backslashreplace") as file:
        yield file
        file.seek(0)
        shutil.copyfileobj(file, sys.stdout)
        sys.stdout.flush()


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
