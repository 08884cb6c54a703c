"""One run of the bench, from its servers to its report."""

import asyncio
import dataclasses
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench import extractor_arm, graph_arms, latency_arms, source_arms, table_arms, whole_arm
from bench.arms import Arm
from bench.figures import ARMS
from bench.peers import table_arms as peers
from bench.records import load_of, releases, with_changes
from bench.report import Report, report
from bench.rounds import Result, run_rounds
from bench.servers import Addresses, running
from bench.settings import Settings
from bench.showing import Showing
from bench.stage import Stage
from bench.versions import versions
from devstack.stack.files import default_home, make_home

MakeArms = Callable[[Stage], list[Arm]]

_ARMS: Mapping[str, MakeArms] = {
    "tables": lambda stage: [*table_arms.arms(stage), *peers.arms(stage)],
    "graph": graph_arms.arms,
    "source": source_arms.arms,
    "extractor": extractor_arm.arms,
    "latency": latency_arms.arms,
    "whole": whole_arm.arms,
}
_NEEDS_GRAPH = frozenset({"graph", "latency", "whole"})
_NEEDS_TABLES = frozenset({"tables", "latency", "whole"})


def run(settings: Settings) -> Report:
    """Measure everything that was asked for.

    Raises: StartRefused, StackFailed.
    """
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    with Showing() as showing, files() as folder, running(_servers(settings.groups), showing.say) as addresses:
        showing.say("making records")
        stage = stage_of(settings, addresses, folder)
        results: list[Result] = []
        for group in settings.groups:
            arms = [arm for arm in _ARMS[group](stage) if not settings.quick or arm.name in ARMS]
            rounds = settings.rounds_of(group)
            showing.begin(group, rounds * len(arms))
            results += asyncio.run(run_rounds(arms, rounds, addresses.processes(), showing.show))
        known = asyncio.run(versions(addresses))
    return report(results, begun=begun, settings=_as_data(settings), versions=known)


def _servers(groups: Collection[str]) -> set[str]:
    needed = {"rabbitmq"}
    if _NEEDS_TABLES & set(groups):
        needed.add("postgres")
    if _NEEDS_GRAPH & set(groups):
        needed.add("neo4j")
    return needed


def stage_of(settings: Settings, addresses: Addresses, folder: Path) -> Stage:
    """Make the records, and what every arm is given."""
    load = load_of(settings.records, seed=settings.seed)
    originals = releases(load, settings.records)
    return Stage(
        **dataclasses.asdict(addresses),
        folder=folder,
        load=load,
        releases=originals,
        changed=with_changes(originals),
        graph_records=settings.graph_records,
    )


def _as_data(settings: Settings) -> dict[str, object]:
    shown = ("quick", "rounds", "records", "graph_records", "seed", "groups")
    return {name: getattr(settings, name) for name in shown}


@contextmanager
def files() -> Iterator[Path]:
    """A folder that the servers' own accounts can read in."""
    home = default_home("bench")
    make_home(home)
    with tempfile.TemporaryDirectory(dir=home, prefix="files-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
