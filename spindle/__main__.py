"""`python -m spindle`, the same as `spindle`."""

import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code, 130 after Ctrl-C and SIGTERM.

    Warnings that are logged go to standard error: standard output is the command's own.
    """
    try:
        from spindle.stopping import stop_on_sigterm

        stop_on_sigterm()
        # Here, because they take a second, in which somebody who changes his mind wants no traceback either.
        from common.telemetry import logs
        from spindle import cli

        logs.configure("spindle", level="warning")
        return cli.main(argv)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    code = main()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it is over: what comes while Python ends interrupts nothing any more
    sys.exit(code)
