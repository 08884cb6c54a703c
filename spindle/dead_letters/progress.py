"""How far a pass is, on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


@contextmanager
def following() -> Iterator[Callable[[str, int, int], None]]:
    """Give the function to tell; shows nothing where nobody looks."""
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks = {}

        def on_done(queue: str, done: int, total: int) -> None:
            if queue not in tasks:
                tasks[queue] = progress.add_task(queue, total=total)
            progress.update(tasks[queue], completed=done)

        yield on_done
