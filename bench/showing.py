"""What a person sees of a running bench: a bar on a terminal, and a line for every arm that has run."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.rounds import Result


class Showing:
    """A context manager."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """Say what is being done."""
        self._console.print(line)

    def begin(self, group: str, runs: int) -> None:
        """Another part begins, of so many runs."""
        self._progress.reset(self._task, description=group, total=runs)

    def show(self, result: Result) -> None:
        """Say what an arm has done."""
        self._progress.advance(self._task)
        self._console.print(line_of(result), soft_wrap=True, markup=False)


def line_of(result: Result) -> str:
    """One run in a line."""
    if result.failure:
        return f"{result.arm:24} round {result.round + 1}  failed: {result.failure}"
    cpu = ", ".join(f"{role} {used:,.0f}" for role, used in result.cpu_us.items() if used >= 0.5)
    own = ", ".join(f"{name} {value:,.4g}" for name, value in result.figures.items())
    marks = f"  STOLEN {result.stolen:.0%}" if result.is_marked else ""
    others = f"  others used {result.elsewhere:.0%}" if result.elsewhere > 0.1 else ""
    return (
        f"{result.arm:24} round {result.round + 1} {result.rate:>9,.0f}/s in {result.seconds:5.2f} s"
        f"  µs: {cpu or '–'}{f'  {own}' if own else ''}{marks}{others}"
    )
