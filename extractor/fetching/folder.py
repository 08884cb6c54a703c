"""The folder that a month is fetched into: it can be written to, and one run at a time does."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import StartRefused


class FolderBusy(StartRefused):
    """Another run is in the folder."""


def writable(folder: Path) -> None:
    """Make it, and see that files can be made in it; others may do so in the same moment. Raises: StartRefused."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (probe := folder / f".probe.{os.getpid()}").write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StartRefused(f"dumps can't be written to {folder}: {error.strerror}") from error


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Have the folder for as long. Raises: FolderBusy, StartRefused."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StartRefused(f"dumps can't be written to {folder}: {error.strerror}") from error
    try:
        _lock(folder, descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FolderBusy(f"another process is fetching into {folder}: wait for it, or name another folder") from error
