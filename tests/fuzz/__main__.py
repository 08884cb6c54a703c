"""`make fuzz`: every target for some minutes, as many at a time as there are cores.

Exit code 1 if an input fails or takes longer than 20 s; the input is written to build/fuzz/; 130 if interrupted.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.commands import end_with
from tests.fuzz.running import FOLDER, fuzz
from tests.fuzz.targets import TARGETS
from tests.workers import on_every_core


def main() -> int:
    """Fuzz, print what came of it, and write build/fuzz.json."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--target", choices=TARGETS, action="append")
    parser.add_argument("--first", type=int, default=0, help="the number of the first input")
    arguments = parser.parse_args()
    targets = arguments.target or list(TARGETS)
    FOLDER.mkdir(parents=True, exist_ok=True)
    run = partial(fuzz, first=arguments.first, seconds=60.0 * arguments.minutes)
    results = list[Mapping[str, Any]]()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns) as progress:
        shown = progress.add_task("targets", total=len(targets))
        for result in on_every_core(run, targets, pieces_each=1):
            results.append(result)
            progress.console.print(escape(_line(result)), highlight=False, soft_wrap=True)
            sys.stdout.flush()
            progress.advance(shown)
            FOLDER.with_suffix(".json").write_text(json.dumps(results, indent=2) + "\n")
    return 1 if any(result["failure"] for result in results) else 0


def _line(result: Mapping[str, Any]) -> str:
    return (
        f"{result['target']:10} {result['inputs']:>12,} inputs in {result['seconds']:.0f} s, the slowest "
        f"{result['slowest_ms']:.0f} ms: {result['failure'] or 'no failure'}"
    )


if __name__ == "__main__":
    end_with(main)
