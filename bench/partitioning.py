"""tableinator into a `releases` cut by the hash of the id, beside one in one piece: `python -m bench.partitioning`.

Takes PostgreSQL 18 (`POSTGRES_VERSION=18`): before, a partitioned table can't tell new records from changed ones. Both
tables are made the same way but for the parts, and both are written by the service from a full queue.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec

from bench.arms import Arm
from bench.rounds import Result, run_rounds
from bench.running import files, stage_of
from bench.servers import running
from bench.settings import Settings
from bench.showing import Showing
from bench.stage import Stage
from bench.table_arms import changed, new_ones, unchanged
from bench.table_consumer import Tableinator
from common.errors import StartRefused
from common.telemetry import logs
from devstack.stack.recipe import StackFailed
from spindle.stopping import stop_on_sigterm

TASKS = {"new": new_ones, "unchanged": unchanged, "changed": changed}
RESULT = Path("build/partitioning.json")


class Compared(msgspec.Struct, frozen=True):
    """One task: records a second into one piece and into parts (medians), and their ratio, round by round.

    `cpu`: the ratio of PostgreSQL's CPU time a record, which says something also where others use the machine.
    """

    task: str
    whole: float
    parts: float
    ratios: list[float]
    cpu: list[float]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result, show it."""
    parser = argparse.ArgumentParser(prog="python -m bench.partitioning", description="Measure a partitioned table.")
    parser.add_argument("--records", type=int, default=20_000, metavar="N", help="releases (default 20000)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument("--parts", type=int, default=8, metavar="N", help="default 8")
    parser.add_argument("--only", choices=TASKS, action="append", help="only this; may be repeated")
    parser.add_argument("--json", type=Path, default=RESULT, metavar="FILE", help="the result")
    arguments = parser.parse_args(argv)
    stop_on_sigterm()
    logs.configure("bench", level="warning")
    try:
        tasks = [task for task in TASKS if task in (arguments.only or TASKS)]
        results = _measure(tasks, arguments.records, arguments.rounds, arguments.parts)
    except (StartRefused, StackFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    compared = [compare(results, task, arguments.parts) for task in tasks]
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode({"runs": results, "compared": compared})))
    for each in compared:
        print(
            f"{each.task}: {each.whole:,.0f} records/s into one piece, {each.parts:,.0f} into {arguments.parts} parts; "
            f"{_ratio(each.ratios)} times as many; PostgreSQL's CPU {_ratio(each.cpu)} times as much"
        )
    return 0


def compare(results: Sequence[Result], task: str, parts: int) -> Compared:
    """A task's rates, and in how many times the one of the other the parts are written. Pure.

    Raises: RuntimeError if a run failed.
    """
    if failed := [each for each in results if each.failure]:
        raise RuntimeError(f"{failed[0].arm} failed: {failed[0].failure}")
    whole, cut = ({each.round: each for each in results if each.arm == name(task, n)} for n in (0, parts))
    return Compared(
        task,
        median(each.rate for each in whole.values()),
        median(each.rate for each in cut.values()),
        [cut[number].rate / each.rate for number, each in whole.items()],
        [cut[number].cpu_us["postgres"] / each.cpu_us["postgres"] for number, each in whole.items()],
    )


def name(task: str, parts: int) -> str:
    """What an arm is called."""
    return f"{task}_{parts or 'whole'}"


def _ratio(rounds: Sequence[float]) -> str:
    return f"{median(rounds):.3g} ({min(rounds):.3g} to {max(rounds):.3g})"


def _measure(tasks: Sequence[str], records: int, rounds: int, parts: int) -> list[Result]:
    settings = Settings(
        quick=True, rounds=rounds, records=records, seed=1, groups=("tables",), json=RESULT, docs=False, only_docs=False
    )
    with Showing() as showing, files() as folder, running({"rabbitmq", "postgres"}, showing.say) as addresses:
        showing.say("making records")
        arms = _arms(tasks, stage_of(settings, addresses, folder), parts)
        showing.begin("partitioning", rounds * len(arms))
        return asyncio.run(run_rounds(arms, rounds, addresses.processes(), showing.show))


def _arms(tasks: Sequence[str], stage: Stage, parts: int) -> list[Arm]:
    return [
        Tableinator(name(task, number), stage, TASKS[task](stage), parts=number)
        for task in tasks
        for number in (0, parts)
    ]


if __name__ == "__main__":
    sys.exit(main())
