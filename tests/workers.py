"""One piece of work after the other on every core."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from spindle.stopping import stop_on_sigterm

T = TypeVar("T")
R = TypeVar("R")


def on_every_core(work: Callable[[T], R], pieces: Sequence[T], *, pieces_each: int | None = None) -> Iterator[R]:
    """Do all pieces in processes, of which each ends after as many pieces as given.

    Yields: what came of each, as soon as it is there.
    Raises: KeyboardInterrupt on SIGTERM too; the processes are ended then, whatever they are doing.
    """
    stop_on_sigterm()
    with ProcessPoolExecutor(
        os.cpu_count(),
        mp_context=multiprocessing.get_context("spawn"),  # a fork would inherit the handler
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),  # which a terminal sends to them too
        max_tasks_per_child=pieces_each,
    ) as workers:
        try:
            for done in as_completed([workers.submit(work, piece) for piece in pieces]):
                yield done.result()
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
