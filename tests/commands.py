"""Long runs as commands: they end on SIGTERM as on Ctrl-C, and say so in one line."""

import sys
from collections.abc import Callable
from typing import NoReturn

from spindle.stopping import stop_on_sigterm

INTERRUPTED = 130
"""The exit code of what was told to stop."""


def end_with(main: Callable[[], int]) -> NoReturn:
    """Exit with the code that `main` returns, or with 130 if it was told to stop."""
    stop_on_sigterm()
    try:
        code = main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)
