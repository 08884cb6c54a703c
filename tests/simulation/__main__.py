"""`make simulate`: many seeds on every core, or the story of one.

Exit codes: 0 nothing violated; 1 something was, and the shortest story that shows it has been told.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.simulation.scenarios import draw
from tests.simulation.shrink import shrink
from tests.simulation.simulate import simulate
from tests.simulation.story import Story

RESULT = Path("build/simulate.json")
CHUNK = 100
TOLD = 3
"""Violations that are told; of more, only the seeds."""


@dataclass(slots=True)
class Tally:
    """What many simulations came to."""

    seeds: int = 0
    steps: int = 0
    virtual_seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    scenarios: Counter[str] = field(default_factory=Counter)
    violations: dict[int, str] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        """Add what others came to."""
        self.seeds += other.seeds
        self.steps += other.steps
        self.virtual_seconds += other.virtual_seconds
        self.faults += other.faults
        self.scenarios += other.scenarios
        self.violations |= other.violations


def run(seeds: range) -> Tally:
    """Simulate some seeds."""
    tally = Tally(seeds=len(seeds))
    for seed in seeds:
        story = draw(seed)
        ending = simulate(story)
        tally.steps += ending.steps
        tally.virtual_seconds += ending.seconds
        tally.scenarios[story.scenario] += 1
        tally.faults.update(fault for step in story.steps for fault in step.faults)
        if ending.violation is not None:
            tally.violations[seed] = ending.violation
    return tally


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
    tally = Tally()
    for part in _everywhere(range(options.first, options.first + options.seeds)):
        tally.add(part)
    _write(tally, seconds=time.monotonic() - began)
    for seed in sorted(tally.violations)[:TOLD]:
        _tell(draw(seed))
    return 1 if tally.violations else 0


def _everywhere(seeds: range) -> Iterator[Tally]:
    """Share the seeds among all cores, and show how far it is."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns) as progress, ProcessPoolExecutor(os.cpu_count()) as workers:
        shown = progress.add_task("0 violations", total=len(seeds))
        violations = 0
        chunks = [workers.submit(run, seeds[first : first + CHUNK]) for first in range(0, len(seeds), CHUNK)]
        for done in as_completed(chunks):
            part = done.result()
            violations += len(part.violations)
            progress.update(shown, advance=part.seeds, description=f"{violations} violations")
            yield part


def _write(tally: Tally, *, seconds: float) -> None:
    result = {
        "seeds": tally.seeds,
        "steps": tally.steps,
        "violations": len(tally.violations),
        "failing_seeds": {str(seed): text for seed, text in sorted(tally.violations.items())},
        "scenarios": dict(sorted(tally.scenarios.items())),
        "faults": dict(sorted(tally.faults.items())),
        "virtual_seconds": round(tally.virtual_seconds),
        "seconds": round(seconds, 1),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{tally.seeds} seeds, {tally.steps} steps, {len(tally.violations)} violations, {seconds:.0f} s: {RESULT}")


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
    sys.exit(main())
