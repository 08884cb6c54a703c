"""How far a run is: bars on a terminal, a line per kind now and then elsewhere."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self, TextIO, cast

import structlog
from rich.console import Console
from rich.file_proxy import FileProxy
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from extractor.worker import Update

log = structlog.get_logger()

_LINE_INTERVAL = 10.0
"""Seconds between two lines about a kind, if there is no terminal."""


class Lines:
    """Progress as log lines."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, int]] = {}
        self._begun: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def show(self, update: Update) -> None:
        """Say how far a kind is, every ten seconds."""
        now = time.monotonic()
        begun = self._begun.setdefault(update.kind, now)
        last, published = self._said.setdefault(update.kind, (now, update.published))
        if now - last < _LINE_INTERVAL:
            return
        self._said[update.kind] = (now, update.published)
        log.info(
            "Publishing" if update.state == "publishing" else update.state.capitalize(),
            data_type=update.kind,
            published=update.published,
            skipped=sum(update.skipped.values()),
            records_per_sec=round((update.published - published) / (now - last)),
            percent=round(100 * update.done / max(1, update.total), 1),
            eta_seconds=round((now - begun) * (update.total - update.done) / max(1, update.done)),
        )


class Bars:
    """Progress as one bar per kind."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[kind]:9}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[published]:>12,} records {task.fields[rate]:>8,}/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._shown = ExitStack()
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._shown.enter_context(self._progress)
        self._shown.enter_context(logged_above())
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._shown.close()

    def show(self, update: Update) -> None:
        """Draw how far a kind is."""
        now = time.monotonic()
        begun = self._begun.setdefault(update.kind, now)
        if update.kind not in self._tasks:
            self._tasks[update.kind] = self._progress.add_task(
                "", kind=update.kind, published=0, rate=0, note="", total=None
            )
        skipped = f"{sum(update.skipped.values()):,} skipped" if update.skipped else ""
        self._progress.update(
            self._tasks[update.kind],
            total=update.total or None,
            completed=update.done,
            published=update.published,
            rate=round(update.published / (now - begun)) if now > begun else 0,
            note=" ".join(filter(None, ("" if update.state == "publishing" else update.state, skipped))),
        )


@contextmanager
def logged_above() -> Iterator[None]:
    """Have log lines go above the bars, while these are drawn: straight to the terminal they would tear them apart."""
    if not isinstance(sys.stderr, FileProxy):  # what a display puts in its place on a terminal
        yield
        return
    above = cast("TextIO", sys.stderr)
    before = structlog.get_config()["logger_factory"]
    libraries = [each for each in logging.getLogger().handlers if isinstance(each, logging.StreamHandler)]
    streams = [each.setStream(above) for each in libraries]
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(above))
    try:
        yield
    finally:
        structlog.configure(logger_factory=before)
        for handler, stream in zip(libraries, streams, strict=True):
            handler.setStream(stream)


def show_progress() -> Bars | Lines:
    """The sort that suits where standard error goes."""
    return Bars() if sys.stderr.isatty() else Lines()
