"""`make chaos`: many runs on one set of servers, or one run of a seed again.

Exit codes: 0 every ledger is even; 1 one is not, or something else was wrong: that run's logs are in build/chaos/;
130 interrupted.
"""

import argparse
import asyncio
import json
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import structlog
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from devstack.stack.installing import install
from tests.chaos.drawing import Story, draw, warm_up
from tests.chaos.running import Run, perform
from tests.chaos.servers import facts, own_servers
from tests.chaos.totals import complaints, line, total
from tests.chaos.world import World, world_of
from tests.commands import end_with

KEPT = Path("build/chaos")


def main() -> int:
    """Run what the command line asks for. Returns: the exit code."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="how many")
    parser.add_argument("--seed", type=int, default=None, help="what they are drawn from; by default a new one")
    parser.add_argument("--run", type=int, help="this run of the seed alone")
    parser.add_argument("--first", type=int, default=0, help="the number of the first run")
    parser.add_argument("--minutes", type=float, default=None, help="begin no run after so many minutes")
    parser.add_argument("--json", type=Path, default=Path("build/chaos.json"), help="where the result goes")
    options = parser.parse_args()
    logging.getLogger("neo4j.notifications").setLevel(logging.ERROR)  # an empty graph is what it warns of
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
    )  # our publisher's troubles
    seed = random.randrange(10**6) if options.seed is None else options.seed
    numbers = range(options.first, options.first + options.runs) if options.run is None else [options.run]
    shutil.rmtree(KEPT, ignore_errors=True)
    return asyncio.run(_run(seed, numbers, minutes=options.minutes, result=options.json))


async def _run(seed: int, numbers: Iterable[int], *, minutes: float | None, result: Path) -> int:
    numbers, runs = list(numbers), list[Run]()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    install({"pgbouncer"}, print)  # which stands before PostgreSQL in a third of the runs
    with own_servers() as servers, Progress(*columns, TimeRemainingColumn()) as progress:
        async with world_of(*servers) as world:
            known, shown = await facts(world), progress.add_task(f"seed {seed}", total=len(numbers))
            _tell(progress, await _perform(world, warm_up(seed)))
            began = time.monotonic()
            for number in numbers:
                if minutes is not None and time.monotonic() - began > minutes * 60:
                    break
                runs.append(await _perform(world, draw(seed, number)))
                _tell(progress, runs[-1])
                progress.advance(shown)
                _write(result, total(runs, seed=seed, seconds=time.monotonic() - began, facts=known))
    failed = [run.story.run for run in runs if complaints(run)]
    print(f"{len(runs)} runs of seed {seed}, {len(failed)} failed{': ' if failed else ''}{failed or ''}: {result}")
    return 1 if failed or not runs else 0


async def _perform(world: World, story: Story) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        run = await perform(world, story, Path(folder))
        _keep(run, Path(folder))
    return run


def _tell(progress: Progress, run: Run) -> None:
    progress.console.print(escape(line(run)), highlight=False, soft_wrap=True)
    sys.stdout.flush()


def _keep(run: Run, folder: Path) -> None:
    """Keep the logs of a run that failed, or in which a service ended by itself, and what was found."""
    if not complaints(run) and not run.ended_by_itself:
        return
    kept = KEPT / f"run-{run.story.run}"
    shutil.copytree(folder, kept, dirs_exist_ok=True)
    told = [line(run), *run.ledger.examples, str(run.story)]
    (kept / "found.txt").write_text("\n".join(told) + "\n")


def _write(path: Path, document: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, default=str) + "\n")


if __name__ == "__main__":
    end_with(main)
