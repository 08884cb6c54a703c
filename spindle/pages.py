"""Pages of the documentation that are written from the code, and checked to be what it says."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def print_or_check(arguments: Sequence[str], path: Path, made: Callable[[], str], *, source: str) -> int:
    """Print what a page must be; with `--check`, see whether the one at the path is it. `source`: what it is made from.

    Returns: an exit code.
    """
    text = made()
    if list(arguments) != ["--check"]:
        sys.stdout.write(text)
        return 0
    if path.read_text() == text:
        return 0
    print(f"{path} is not what the {source} say; run make docs", file=sys.stderr)
    return 1
