"""The bench: `python -m bench --help`. It starts its own servers, measures, stops them, and writes build/bench.json.

Exit codes: 0 everything was measured; 1 an arm failed, or a store was wrong after one; 2 it can't run like this;
130 interrupted.
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from bench.document import rewrite, table_of
from bench.report import read, write
from bench.running import run
from bench.settings import parse
from common.errors import StartRefused
from common.telemetry import logs
from devstack.stack.recipe import StackFailed
from spindle.stopping import stop_on_sigterm

_WIDTH = 100  # columns: also where the output is a file


def main(argv: Sequence[str] | None = None) -> int:
    """Run once; return the exit code."""
    settings = parse(sys.argv[1:] if argv is None else argv)
    logs.configure("bench", level="error")
    if settings.only_docs:
        rewrite(read(settings.json))
        return 0
    stop_on_sigterm()  # as on Ctrl-C: the servers end too
    try:
        found = run(settings)
    except (StartRefused, StackFailed) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted: the servers are stopped, and nothing is written.", file=sys.stderr)
        return 130
    write(settings.json, found)
    Console(width=_WIDTH).print(table_of(found.figures))
    if settings.quick:
        print("A quick run: few records and few rounds. The figures of record are those of a whole one.")
    if settings.docs:
        rewrite(found)
    return 1 if any(result.failure for result in found.results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
