"""The workers of a run, seen from their parent: started together, heard, and ended with it."""

import multiprocessing
import multiprocessing.connection
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Self

from extractor.exit_codes import how_it_ended
from extractor.report import Ending, KindReport
from extractor.worker import Update, Work, run_worker

_CLOSING_LIMIT = 5.0
"""Seconds in which a worker that was told to stop closes its connection; then it is killed."""


class Crew:
    """A context manager: no worker outlives it."""

    def __init__(self, jobs: Sequence[Work]) -> None:
        self._jobs = jobs
        self._workers: dict[Connection, tuple[Work, SpawnProcess]] = {}
        self._begun = 0.0
        self._heard: dict[Connection, Update] = {}
        self.unheard: list[KindReport] = []
        """The reports of workers that were told to end while nobody listened any more; known on leaving."""

    def __enter__(self) -> Self:
        self._begun = time.monotonic()
        # Spawned, not forked: what the parent has open stays its own.
        context = multiprocessing.get_context("spawn")
        for job in self._jobs:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=run_worker, args=(job, theirs), name=f"{job.program} {job.kind}", daemon=True
            )
            _start(process)
            theirs.close()  # so that the pipe ends when the worker does
            self._workers[ours] = (job, process)
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        processes = [process for _, process in self._workers.values()]
        for process in processes:
            process.terminate()
        try:
            deadline = time.monotonic() + _CLOSING_LIMIT
            for process in processes:
                process.join(max(0.0, deadline - time.monotonic()))
        finally:  # also where somebody does not want to wait even for that
            for process in processes:
                process.kill()
            for pipe, (_, process) in self._workers.items():
                process.join()
                self._hear_out(pipe)
                pipe.close()

    def listen(self) -> Iterator[Update | KindReport | None]:
        """What the workers say, until each has ended with a report; None at least every quarter of a second."""
        pipes = list(self._workers)
        while pipes:
            for pipe in multiprocessing.connection.wait(pipes, timeout=0.25):
                assert isinstance(pipe, Connection)  # noqa: S101 (for mypy: nothing else is waited for)
                said = self._hear(pipe)
                if isinstance(said, KindReport):
                    pipes.remove(pipe)
                yield said
            yield None

    def _hear_out(self, pipe: Connection) -> None:
        with suppress(EOFError, OSError):
            while pipe.poll():
                if isinstance(said := pipe.recv(), KindReport):
                    self.unheard.append(said)

    def _hear(self, pipe: Connection) -> Update | KindReport:
        job, process = self._workers[pipe]
        try:
            said: Update | KindReport = pipe.recv()
        except (EOFError, OSError):
            process.join()
            return self._obituary(job, process.exitcode, self._heard.get(pipe))
        if isinstance(said, Update):
            self._heard[pipe] = said
        return said

    def _obituary(self, job: Work, exit_code: int | None, last: Update | None) -> KindReport:
        """The report of a worker that could make none: what it was last known to have done, and how it ended."""
        published = last.published if last else 0
        return KindReport(
            job.kind,
            job.load.file_name(job.kind),
            Ending.FAILED,
            published=published,
            skipped=dict(last.skipped) if last else {},
            seconds=time.monotonic() - self._begun,
            failure=f"{how_it_ended(exit_code)}; at least {published:,} messages were published",
        )


def _start(process: SpawnProcess) -> None:
    """Start a worker that no Ctrl-C reaches.

    A terminal's Ctrl-C is for every process of the group; here the parent alone decides, and says SIGTERM. What is
    blocked now stays blocked in the worker, even while Python itself starts; our own waits until it is unblocked.
    """
    resource_tracker.ensure_running()  # which starts on its own otherwise, and unblocks the signal meanwhile
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
