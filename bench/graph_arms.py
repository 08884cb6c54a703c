"""All arms of the graph, over the same releases: with every edge, and with BY, ON, IS and DERIVED_FROM only.

The JVM is warm: before it counts for the first time each arm runs once without a watch.
"""

from collections.abc import Mapping

from bench.arms import Arm, Run, Watch
from bench.graph_consumers import BATCH, BentoGraph, Graphinator, GraphTask
from bench.graph_direct import LoadCsv, LoadCsvFiles, Merging
from bench.graph_records import Carried, without_credits
from bench.peers import bento_program
from bench.stage import Stage

REPEATS = 5
"""How often the unchanged ones come: once takes half a second, of which the last batch, not full, may wait a third."""
_ONE_BY_ONE = 300
"""Records for the arm with a transaction per record: of 20,000 it would take minutes, and the rate is the same."""


def arms(stage: Stage) -> list[Arm]:
    """Ours and the others', warmed."""
    return [Warmed(arm) for arm in cold_arms(stage)]


def cold_arms(stage: Stage) -> list[Arm]:
    """The arms as they are."""
    releases = Carried(stage.releases[: stage.graph_records])
    plain = Carried(without_credits(releases.messages))
    new, few = _new(releases), _new(plain)
    every: list[Arm] = [
        Merging("graph_per_record", stage, plain.first(_ONE_BY_ONE), size=1),
        Merging("graph_unwind_merge", stage, releases, size=BATCH),
        LoadCsv("graph_load_csv", stage, releases),
        LoadCsvFiles("graph_load_csv_files", stage, releases),
        Graphinator("graph_new", stage, new),
        Graphinator("graph_without_ledger", stage, new, has_ledger=False),
        Graphinator("graph_new_one_writer", stage, new, writers=1),
        Graphinator("graph_new_three_writers", stage, new, writers=3),
        Graphinator("graph_new_few_edges", stage, few),
        Graphinator("graph_unchanged", stage, _unchanged(releases)),
        Graphinator("graph_unchanged_without_ledger", stage, _unchanged(releases), has_ledger=False),
        Graphinator("graph_changed", stage, _changed(stage, releases)),
    ]
    if bento_program.is_here():
        every.append(BentoGraph("graph_bento", stage, few))
    return every


class Warmed:
    """An arm that runs once before it is measured."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self._is_warm = False

    @property
    def name(self) -> str:
        """The arm's."""
        return self._arm.name

    async def prepare(self) -> None:
        """Prepare; the first time, run before."""
        if not self._is_warm:
            await self._arm.prepare()
            await self._arm.run(_NoWatch())
            await self._arm.end()
            self._is_warm = True
        await self._arm.prepare()

    async def run(self, watch: Watch) -> Run:
        """Carry the records."""
        return await self._arm.run(watch)

    async def check(self) -> None:
        """Compare."""
        await self._arm.check()

    def processes(self) -> Mapping[str, int]:
        """The arm's."""
        return self._arm.processes()

    async def end(self) -> None:
        """Stop."""
        await self._arm.end()


class _NoWatch:
    def start(self) -> None:
        """Nobody looks."""

    def stop(self) -> None:
        """Nobody looks."""


def _new(carried: Carried) -> GraphTask:
    return GraphTask(carried, start=len(carried) // 10)


def _unchanged(carried: Carried) -> GraphTask:
    """All but two are stored already: the arrival of these two is what one can see."""
    start = _end_of_a_batch(len(carried) // 10)
    fresh = {start, len(carried) - 1}
    stored = [each for at, each in enumerate(carried.messages) if at not in fresh]
    return GraphTask(carried, stored, start, repeats=REPEATS)


def _changed(stage: Stage, releases: Carried) -> GraphTask:
    """One in twenty has changed since it was stored; the last one has not, so it is left out of what is stored."""
    carried = Carried(stage.changed[: len(releases)])
    differing = (
        at for at, (now, then) in enumerate(zip(carried.messages, releases.messages, strict=True)) if now != then
    )
    least = _end_of_a_batch(len(carried) // 10)
    return GraphTask(carried, releases.messages[:-1], next(at for at in differing if at >= least))


def _end_of_a_batch(position: int) -> int:
    return position // BATCH * BATCH + BATCH - 1
