"""One kind's process: it publishes, and tells its parent over a pipe how far it is and how it ended.

A process per kind, because reading and normalising is work for a whole core each.
"""

import asyncio
import multiprocessing
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

import structlog

from common.errors import SpindleError
from common.telemetry import logs
from extractor.loads import Load
from extractor.report import Ending, KindReport
from extractor.run_delay import run_delay
from extractor.settings import ExtractorSettings
from extractor.tally import Awaited, Tally

log = structlog.get_logger()

_UPDATE_INTERVAL = 0.25  # seconds


@dataclass(frozen=True, slots=True)
class Update:
    """How far one kind is; `done` of `total` are bytes of the file, or records."""

    kind: str
    state: str
    published: int
    skipped: Mapping[str, int]
    """By reason."""
    done: int
    total: int


class Work(Protocol):
    """What a worker does of one kind; it is sent to another process."""

    @property
    def program(self) -> str:
        """What the log calls whose work it is."""

    @property
    def kind(self) -> str:
        """Of which kind."""

    @property
    def load(self) -> Load:
        """Of which load."""

    @property
    def settings(self) -> ExtractorSettings:
        """As the parent has them."""

    async def do(self, tally: Tally, tell: Callable[[str], None]) -> None:
        """Do it, and tell the state after every chunk. Raises: a SpindleError or OSError, which ends in the report."""


class ParentGone(Exception):
    """Nobody listens any more: what is published now would never be announced."""


def run_worker(job: Work, pipe: Connection) -> None:
    """Do one job in a process of its own; exit 0 only if it is complete."""
    # On a terminal the parent draws what a worker tells it, and a worker's lines tear its bars: only warnings may.
    level = "warning" if sys.stderr.isatty() and job.settings.log_level == "info" else job.settings.log_level
    logs.configure(job.program, level=level, log_format=job.settings.log_format)
    worker = _Worker(job, pipe)
    report = worker.run()
    try:
        pipe.send(report)
    except OSError:
        raise SystemExit(1) from None
    raise SystemExit(0 if report.ending is Ending.COMPLETE else 1)


class _Worker:
    def __init__(self, job: Work, pipe: Connection) -> None:
        self._job, self._pipe = job, pipe
        self._tally = Tally()
        self._begun, self._cpu_begun, self._delayed = time.monotonic(), time.process_time(), run_delay()
        self._told = 0.0

    def run(self) -> KindReport:
        """Publish, or only read; whatever happens ends in a report."""
        try:
            asyncio.run(self._until_told_to_stop())
        except asyncio.CancelledError:
            return self._report(Ending.INTERRUPTED)
        except (SpindleError, OSError, ParentGone) as error:
            return self._report(Ending.FAILED, str(error) or type(error).__name__)
        except Exception as error:  # the last one above: the parent must hear of it
            log.exception("Crashed", data_type=self._job.kind)
            return self._report(Ending.FAILED, f"{type(error).__name__}: {error}")
        return self._report(Ending.COMPLETE)

    async def _until_told_to_stop(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (for mypy: a coroutine that runs is run by a task)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, _stop, task)
        if (parent := multiprocessing.parent_process()) is not None:
            # One that was killed says nothing, and a worker that waits for the broker would not tell it anything.
            loop.add_reader(parent.sentinel, _leave, loop, parent.sentinel, task)
        self._tell("starting")
        await self._job.do(self._tally, self._tell)
        self._told = 0.0  # the last word is never too much
        self._tell("done")

    def _tell(self, state: str) -> None:
        """Send an update, but not too often. Raises: ParentGone."""
        now = time.monotonic()
        if now - self._told < _UPDATE_INTERVAL:
            return
        self._told = now
        tally = self._tally
        skipped = tally.skipped_by_reason()
        try:
            self._pipe.send(Update(self._job.kind, state, tally.published, skipped, tally.done, tally.total))
        except OSError as error:
            raise ParentGone(f"the main process of {self._job.program} is gone") from error

    def _report(self, ending: Ending, failure: str = "") -> KindReport:
        tally, parsers = self._tally, resource.getrusage(resource.RUSAGE_CHILDREN)
        return KindReport(
            kind=self._job.kind,
            file=self._job.load.file_name(self._job.kind),
            ending=ending,
            published=tally.published,
            skipped=tally.skipped_by_reason(),
            examples=tuple(tally.examples),
            seconds=time.monotonic() - self._begun,
            body_bytes=tally.body_bytes,
            failure=failure,
            unchanged=tally.unchanged,
            resumed=tally.resumed,
            known=tally.known,
            no_manifest=tally.refusal,
            sent=tally.sent,
            cpu_seconds=time.process_time() - self._cpu_begun,
            parsers_cpu_seconds=parsers.ru_utime + parsers.ru_stime,
            read=tally.records,
            parsed=tally.records - tally.unchanged - tally.resumed - tally.known,
            parsers=tally.parsers,
            waited=tally.waited | {Awaited.CORE: run_delay() - self._delayed},
        )


def _leave(loop: asyncio.AbstractEventLoop, sentinel: int, task: "asyncio.Task[None]") -> None:
    loop.remove_reader(sentinel)
    task.cancel()


def _stop(task: "asyncio.Task[None]") -> None:
    """End; once. A second SIGTERM, as a group's comes beside the parent's, would meet a loop that is being closed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    task.cancel()
