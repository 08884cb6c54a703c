"""`python -m spindle`, the same as `spindle`."""

import sys
from collections.abc import Sequence

from common.telemetry import logs
from spindle import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Warnings that are logged go to standard error: standard output is the command's own."""
    logs.configure("spindle", level="warning")
    return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main())
