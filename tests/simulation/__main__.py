"""`make simulate`: many seeds on every core, or the story of one.

Exit codes: 0 nothing violated; 1 something was, and the shortest story that shows it has been told; 130 interrupted.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.commands import end_with
from tests.simulation.scenarios import draw
from tests.simulation.shrink import shrink
from tests.simulation.simulate import simulate
from tests.simulation.story import Story
from tests.simulation.totals import Totals, run
from tests.workers import on_every_core

RESULT = Path("build/simulate.json")
CHUNK = 100
TOLD = 3
"""Violations that are told; of more, only the seeds."""


def main() -> int:
    """Run what the command line asks for. Returns: the exit code."""
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="tell the story of this one")
    options = parser.parse_args()
    if options.seed is not None:
        return _tell(draw(options.seed))
    began = time.monotonic()
    totals = Totals()
    for part in _everywhere(range(options.first, options.first + options.seeds)):
        totals.add(part)
    _write(totals, seconds=time.monotonic() - began)
    for seed in sorted(totals.violations)[:TOLD]:
        _tell(draw(seed))
    return 1 if totals.violations else 0


def _everywhere(seeds: range) -> Iterator[Totals]:
    """Share the seeds among all cores, and show how far it is."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    chunks = [seeds[first : first + CHUNK] for first in range(0, len(seeds), CHUNK)]
    with Progress(*columns) as progress:
        shown = progress.add_task("0 violations", total=len(seeds))
        violations = 0
        for part in on_every_core(run, chunks):
            violations += len(part.violations)
            progress.update(shown, advance=part.seeds, description=f"{violations} violations")
            yield part


def _write(totals: Totals, *, seconds: float) -> None:
    result = {
        "seeds": totals.seeds,
        "steps": totals.steps,
        "violations": len(totals.violations),
        "failing_seeds": {str(seed): text for seed, text in sorted(totals.violations.items())},
        "scenarios": dict(sorted(totals.scenarios.items())),
        "faults": dict(sorted(totals.faults.items())),
        "virtual_seconds": round(totals.virtual_seconds),
        "seconds": round(seconds, 1),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{totals.seeds} seeds, {totals.steps} steps, {len(totals.violations)} violations, {seconds:.0f} s: {RESULT}")


def _tell(story: Story) -> int:
    """Tell what happens, in the shortest story that ends the same way. Returns: the exit code."""
    ending = simulate(story)
    print(f"\nseed {story.seed}, {story.scenario}: {ending.violation or 'nothing violated'}")
    if ending.violation is not None:
        story = shrink(story, lambda shorter: simulate(shorter).violation is not None)
    print(story.setup)
    for line in simulate(story, tell=True).lines:
        print(line)
    return 1 if ending.violation is not None else 0


if __name__ == "__main__":
    end_with(main)
