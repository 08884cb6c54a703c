"""How far a command is, on a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from extractor.progress import logged_above

log = structlog.get_logger()

_LINE_INTERVAL = 10.0
"""Seconds between two lines, if there is no terminal."""

OnDone = Callable[[str, int, int], None]
"""Told what is being done (`subject: phase`), and how much of how much of it is done."""


@contextmanager
def following() -> Iterator[OnDone]:
    """Give the function to tell: rows on a terminal; elsewhere a line now and then, where the log has such lines."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_now_and_then()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=console, transient=True) as progress,
        logged_above(),
    ):
        rows: dict[str, tuple[str, TaskID]] = {}

        def on_done(what: str, done: int, total: int) -> None:
            """One row for each subject, whose phases follow each other in it."""
            subject, _, phase = what.partition(": ")
            known, row = rows.get(subject, ("", None))
            if row is None:
                row = progress.add_task(what, total=total or None)
            elif known != phase:
                progress.reset(row, description=what)
            rows[subject] = phase, row
            [shown] = [task for task in progress.tasks if task.id == row]
            shown.total = total or None  # here, because update() takes None for "as it was"
            progress.update(row, completed=done)

        yield on_done


def _line_now_and_then() -> OnDone:
    said_at = time.monotonic()

    def on_done(what: str, done: int, total: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= _LINE_INTERVAL:
            said_at = time.monotonic()
            log.info("Working", on=what, done=done, total=total or None)

    return on_done
