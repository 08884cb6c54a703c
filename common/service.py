"""Run a program: from its settings to its exit code.

Exit codes: 0 done or drained; 1 crashed, or the deadline came first; 2 it can't run like this, and a sentence says why.
A second signal ends the process at once with 128 and the signal's number, as a shell would put it.
"""

import argparse
import asyncio
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import FrameType, TracebackType
from typing import Self, TypeVar

import structlog

from common import VERSION
from common.errors import SettingsError, StartRefused
from common.settings.environment import load, misspelt
from common.settings.programs import ProgramSettings
from common.telemetry import logs

log = structlog.get_logger()

P = TypeVar("P", bound=ProgramSettings)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_GRACE = 1.0  # seconds from the deadline to the hard end, for what cancellation has to close


class Shutdown:
    """The soft stop: asked for once, and told to everyone who registered; those who register later hear it at once."""

    def __init__(self) -> None:
        self.begun = False
        self._callbacks: list[Callable[[], None]] = []

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Call this when the stop begins, or now if it has begun."""
        if self.begun:
            callback()
        else:
            self._callbacks.append(callback)

    def begin(self) -> bool:
        """Tell everyone to stop; the second time changes nothing.

        Returns: whether anyone was told.
        """
        callbacks, self._callbacks = self._callbacks, []
        self.begun = True
        for callback in callbacks:
            callback()
        return bool(callbacks)


def read_arguments(name: str, about: str, argv: Sequence[str] | None = None) -> None:
    """Answer `--help` and `--version`; nothing else is taken.

    Raises: SystemExit, with 2 for what is not known.
    """
    parser = argparse.ArgumentParser(
        prog=name, description=f"{about} Settings come from environment variables (docs/configuration.md)."
    )
    parser.add_argument("--version", action="version", version=f"{name} {VERSION}")
    parser.parse_args(argv)


def start(
    name: str,
    settings: type[P],
    run: Callable[[P, Shutdown], Awaitable[int | None]],
    *,
    environ: Mapping[str, str],
) -> int:
    """Read a program's settings, begin to log, and serve.

    Returns: the exit code.
    """
    logs.configure(name)
    try:
        loaded = load(settings, environ)
    except SettingsError as error:
        return _report(error)
    logs.configure(name, level=loaded.log_level, log_format=loaded.log_format)
    for sentence in misspelt(settings, environ):
        log.warning(sentence)
    return serve(partial(run, loaded), drain_limit=loaded.drain_limit)


def serve(run: Callable[[Shutdown], Awaitable[int | None]], *, drain_limit: float) -> int:
    """Run until it is done, or until a signal has drained it. What it returns is the exit code, None is 0.

    Returns: the exit code.
    """
    try:
        with _Ending(drain_limit) as ending, asyncio.Runner(loop_factory=fast_loop()) as runner:
            return ending.run(runner, run)
    except KeyboardInterrupt:  # before or after our own handler was in place
        return 128 + signal.SIGINT
    except Exception as error:  # noqa: BLE001 - the end of the line: nobody above could do anything but this
        return _report(error)


class _Ending:
    """What signals do to a run: a soft stop, then the deadline, then the hard end.

    A thread hears them, by the interpreter's wake-up descriptor (`signal.set_wakeup_fd`). The main thread may hang, or
    wait in a call that the signal came an instant too early to interrupt: it would hear of the signal after that call.
    """

    def __init__(self, drain_limit: float) -> None:
        self._drain_limit = drain_limit
        self._shutdown = Shutdown()
        self._cancelled_with: int | None = None
        self._task: asyncio.Task[int] | None = None
        self._previous = {number: signal.getsignal(number) for number in _SIGNALS}
        self._heard, self._wakeup = socket.socketpair()
        self._wakeup.setblocking(False)  # what an interpreter's handler writes to must not block

    def __enter__(self) -> Self:
        threading.Thread(target=self._obey, name="signals", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        signal.set_wakeup_fd(-1)
        self._wakeup.close()

    def run(self, runner: asyncio.Runner, run: Callable[[Shutdown], Awaitable[int | None]]) -> int:
        """Run in this runner's loop, listening to signals."""
        self._loop = runner.get_loop()
        return runner.run(self._supervise(run))

    async def _supervise(self, run: Callable[[Shutdown], Awaitable[int | None]]) -> int:
        self._listen()
        self._task = asyncio.current_task()
        code: int | None = 0
        try:
            code = await run(self._shutdown)
        except asyncio.CancelledError:
            if self._cancelled_with is None:
                raise
        code = self._cancelled_with or code or 0
        log.info("Stopped", exit_code=code)
        return code

    def _listen(self) -> None:
        # In the running loop: uvloop takes the descriptor as it begins to run.
        self._take_wakeup()
        for number in _SIGNALS:
            signal.signal(number, self._repeat)  # only a signal with a handler is written to the descriptor

    def _repeat(self, number: int, _: FrameType | None) -> None:
        """Pass on what went to another descriptor: uvloop takes it again when the loop runs once more, to close."""
        if not self._take_wakeup():
            self._wakeup.send(bytes((number,)))

    def _take_wakeup(self) -> bool:
        """Have the interpreter write to our descriptor. Returns: whether it did so before."""
        ours = self._wakeup.fileno()
        return signal.set_wakeup_fd(ours, warn_on_full_buffer=False) == ours

    def _obey(self) -> None:
        with self._heard:
            first = self._next_signal()
            if first is None:
                return
            with suppress(RuntimeError):  # the loop is closed already: it is about to end
                self._loop.call_soon_threadsafe(self._drain, first.name)
            self._heard.settimeout(self._drain_limit + _GRACE)
            try:
                second = self._next_signal()
            except TimeoutError:
                os._exit(1)
            if second is not None:
                os._exit(128 + second)

    def _next_signal(self) -> signal.Signals | None:
        """Wait for the next of ours. None: the run is over.

        Raises: TimeoutError.
        """
        while number := self._heard.recv(1):
            if number[0] in _SIGNALS:
                return signal.Signals(number[0])
        return None

    def _drain(self, name: str) -> None:
        log.info("Draining", signal=name, drain_limit=self._drain_limit)
        self._loop.call_later(self._drain_limit, self._meet_deadline)
        if not self._shutdown.begin():
            self._cancel(0)  # nothing has been begun that would have to be finished

    def _meet_deadline(self) -> None:
        log.warning("Not drained in time: what is not settled will be delivered again", drain_limit=self._drain_limit)
        self._cancel(1)

    def _cancel(self, code: int) -> None:
        self._cancelled_with = code
        if self._task is not None:
            self._task.cancel()


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the faster event loop, if it is installed; None: the standard one."""
    try:
        import uvloop
    except ImportError:  # it has no wheel for every platform; the standard loop does the same, slower
        return None
    return uvloop.new_event_loop


def _report(error: BaseException) -> int:
    """Say why it ended. Returns: the exit code."""
    causes = list(_causes(error))
    if not all(isinstance(cause, SettingsError | StartRefused) for cause in causes):
        log.error("Crashed", exc_info=error)
        return 1
    # Four kinds that meet the same closed door say it once.
    for sentence in dict.fromkeys(line for cause in causes for line in str(cause).splitlines()):
        log.error(sentence)
    return 2


def _causes(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    else:
        yield error
