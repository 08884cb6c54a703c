"""Show how much of a file is there: a bar on a terminal, a log line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from extractor.fetching.download import OnBytes
from extractor.progress import logged_above

log = structlog.get_logger()

_LINE_INTERVAL = 10.0
"""Seconds between two lines, if there is no terminal."""


@contextmanager
def following() -> Iterator[OnBytes]:
    """Give the function to tell."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_now_and_then()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress, logged_above():
        rows = dict[str, TaskID]()

        def on_bytes(name: str, there: int, total: int | None) -> None:
            if name not in rows:
                rows[name] = progress.add_task(name, total=total, completed=there)
            progress.update(rows[name], completed=there, total=total)

        yield on_bytes


def _line_now_and_then() -> OnBytes:
    said = dict[str, tuple[float, int]]()

    def on_bytes(name: str, there: int, total: int | None) -> None:
        now = time.monotonic()
        last, before = said.setdefault(name, (now, there))
        if now - last < _LINE_INTERVAL:
            return
        said[name] = now, there
        rate = max(1.0, (there - before) / (now - last))
        left = {"percent": round(100 * there / total, 1), "eta_seconds": round((total - there) / rate)} if total else {}
        log.info("Fetching", file=name, bytes=there, bytes_per_sec=round(rate), **left)

    return on_bytes
