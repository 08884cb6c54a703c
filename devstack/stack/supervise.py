"""Run a command and start it again when it fails, as a container engine does with `restart: on-failure:10`.

    python -m devstack.stack.supervise -- command argument…

Exit code 0 means that it was told to stop, 2 that its settings are wrong: neither is fixed by another start. SIGTERM
and SIGINT are passed on, and the command's exit code is ours.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import FrameType

MOST_RESTARTS = 10
_FINAL = (0, 2)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0  # seconds; doubling: ten restarts last about two minutes


class Supervisor:
    """One command's life over several processes."""

    def __init__(self, argv: Sequence[str], *, first_pause: float = _FIRST_PAUSE) -> None:
        self._argv = argv
        self._first_pause = first_pause
        self._child: subprocess.Popen[bytes] | None = None
        self._told_to_stop = threading.Event()

    def run(self) -> int:
        """Run until the command ends for good; return its exit code."""
        for restart in range(MOST_RESTARTS + 1):
            code = self._run_once()
            if code in _FINAL or self._told_to_stop.is_set():
                return code
            if restart < MOST_RESTARTS:
                self._pause(code, restart)
            if self._told_to_stop.is_set():
                return 0
        _say(f"exit code {code} after {MOST_RESTARTS} restarts: giving up")
        return code

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """Pass a signal on; no start follows. Safe in a signal handler."""
        self._told_to_stop.set()
        if self._child is not None and self._child.returncode is None:
            self._child.send_signal(number)

    def _run_once(self) -> int:
        # A signal that comes between the start and the assignment must not be lost: it waits until both are done.
        stops = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, stops)
        try:
            if self._told_to_stop.is_set():
                return 0
            self._child = subprocess.Popen(self._argv, preexec_fn=_unblock)  # noqa: S603  (one thread)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
        return self._child.wait()

    def _pause(self, code: int, restart: int) -> None:
        pause = min(self._first_pause * 2**restart, _LONGEST_PAUSE)
        _say(f"exit code {code}: restart {restart + 1} of {MOST_RESTARTS} in {pause:g} s")
        self._told_to_stop.wait(pause)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})


def _say(line: str) -> None:
    print(f"supervise: {line}", file=sys.stderr, flush=True)


def main() -> int:
    """Run the command behind `--`."""
    supervisor = Supervisor(sys.argv[sys.argv.index("--") + 1 :])
    signal.signal(signal.SIGTERM, supervisor.stop)
    signal.signal(signal.SIGINT, supervisor.stop)
    code = supervisor.run()
    return code if code >= 0 else 128 - code  # a negative code is the signal that ended it


if __name__ == "__main__":
    sys.exit(main())
