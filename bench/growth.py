"""How loading, checking and verifying go on while the stores grow: `python -m bench.growth` (some 40 minutes).

For 10,000, 100,000 and 1,000,000 records of all kinds, each time into empty stores on servers of its own: the extractor
publishes with manifests, both services store; then `spindle check` of each store and `spindle verify`. The answer is
whether the last tenth of a load is as fast as the first, and whether rate and memory of a check stay what they were.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.consumers import Consumer, Process
from bench.graph_store import Graph
from bench.processes import cpu_seconds, peak_memory
from bench.queues import Queue
from bench.running import files, stage_of
from bench.servers import running
from bench.settings import Settings
from bench.stage import Stage
from bench.tables import Tables
from bench.warming import warm
from common.errors import StartRefused
from common.kinds import KINDS, Service
from common.telemetry import logs
from devstack.stack.files import default_home
from devstack.stack.native import SERVERS
from devstack.stack.recipe import StackFailed
from extractor.synthetic.synthetic import SyntheticLoad
from spindle.stopping import stop_on_sigterm

LEVELS = (10_000, 100_000, 1_000_000)
RESULT = Path("build/growth.json")
STORES = {Service.TABLEINATOR: "postgresql", Service.GRAPHINATOR: "neo4j"}
_TENTHS = 10
_LOOK = 0.1  # seconds between two looks at a service's counters
_LIMIT = 3600.0  # for one command or one load, in seconds
_SETTINGS = Settings(
    quick=True, rounds=1, records=5000, seed=2, groups=("whole",), json=RESULT, docs=False, only_docs=False
)


class Measured(msgspec.Struct, frozen=True):
    """One command's work on `records` records: wall time, CPU time of a record, and the most memory it had."""

    seconds: float
    rate: float
    cpu_us: float
    memory_mb: float


class Loaded(msgspec.Struct, frozen=True):
    """One service's part of a load: records a second in each tenth of it, and the service's memory at its most."""

    seconds: float
    tenths: list[float]
    memory_mb: float
    store_mb: float


class Level(msgspec.Struct, frozen=True):
    """A load of `records`, and what was asked about it, by store."""

    records: int
    loaded: dict[str, Loaded]
    check: dict[str, Measured]
    verify: Measured


class Growing:
    """One service while it stores: when each tenth of the records was there."""

    def __init__(self, consumer: Consumer, records: int) -> None:
        self.consumer = consumer
        self._records = records
        self._begun = time.perf_counter()
        self._passed: list[tuple[float, float]] = []  # seconds, records

    def look(self) -> bool:
        """Look at its counters. Returns: whether everything is stored."""
        stored = self.consumer.metric("spindle_records_total")
        if stored > (self._passed[-1][1] if self._passed else 0):
            self._passed.append((time.perf_counter() - self._begun, stored))
        return stored >= self._records

    def tenths(self) -> list[float]:
        """Records a second, by tenths of those stored after the first look: when those before were, nobody saw."""
        before = self._passed[0][1]
        step = (self._records - before) / _TENTHS
        borders = [self._when(before + step * part) for part in range(_TENTHS + 1)]
        return [step / max(last - first, _LOOK) for first, last in pairwise(borders)]

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return self._passed[-1][0]

    def _when(self, count: float) -> float:
        for (before, few), (after, many) in pairwise(self._passed):
            if few <= count <= many:
                return before + (after - before) * (count - few) / (many - few)
        return self.seconds


async def measure(records: int, stage: Stage, home: Path) -> Level:
    """Load so many, check and verify. Raises: RuntimeError if a process fails."""
    load = SyntheticLoad(records, seed=1)
    environment = {**_environment(stage), "SPINDLE_STATE": str(stage.folder / "state")}
    tables, graph = await Tables.connect(stage.postgres_dsn), Graph(stage)
    try:
        await tables.make(*KINDS)
        await warm(graph, stage)
        empty = await _sizes(tables, graph, home)
        loaded = await _loaded(load, stage, environment)
        sizes = {store: size - empty[store] for store, size in (await _sizes(tables, graph, home)).items()}
    finally:
        await tables.close()
        await graph.close()
    command = [sys.executable, "-m", "spindle"]
    start = await _run([*command, "--version"], environment, records)
    made = ["--synthetic", str(records), "--seed", str(load.seed)]
    check = {
        store: without(
            start, await _run([*command, "check", load.date, "--store", store, "--json"], environment, records)
        )
        for store in STORES.values()
    }
    verify = without(start, await _run([*command, "verify", *made, "--json"], environment, records))
    found = {store: msgspec.structs.replace(part, store_mb=sizes[store]) for store, part in loaded.items()}
    return Level(records, found, check, verify)


def without(start: Measured, whole: Measured) -> Measured:
    """A command's work without the second that Python needs to start."""
    seconds = whole.seconds - start.seconds
    records = whole.rate * whole.seconds
    return Measured(seconds, records / seconds, whole.cpu_us - start.cpu_us, whole.memory_mb)


async def _loaded(load: SyntheticLoad, stage: Stage, environment: Mapping[str, str]) -> dict[str, Loaded]:
    (stage.folder / "state").mkdir()
    for service in Service:
        for kind in KINDS:
            await Queue(stage.rabbitmq_url, service, kind).make()
    consumers: dict[Service, Consumer] = {}
    processes: list[Process] = []
    try:
        for service in STORES:
            own = {**environment, "KINDS": ",".join(KINDS)}
            consumers[service] = Consumer(service, own, stage.folder / f"{service}.log")
            processes.append(consumers[service])
        async with asyncio.timeout(120.0):
            while not all([await each.is_ready() for each in consumers.values()]):
                await asyncio.sleep(_LOOK)
        argv = [sys.executable, "-m", "extractor", "--synthetic", str(load.count), "--seed", str(load.seed)]
        extractor = Process(argv, environment, stage.folder / "extractor.log")
        processes.append(extractor)
        growing = {service: Growing(consumer, load.count) for service, consumer in consumers.items()}
        async with asyncio.timeout(_LIMIT):
            while sum(each.look() for each in growing.values()) < len(growing):
                for process in processes:
                    if process.has_ended and (process is not extractor or process.exit_code):
                        raise RuntimeError(f"a process ended; its log says:\n{process.log[-2000:]}")
                await asyncio.sleep(_LOOK)
        await extractor.wait(120.0)
        return {
            STORES[service]: Loaded(each.seconds, each.tenths(), peak_memory(each.consumer.pid), 0.0)
            for service, each in growing.items()
        }
    finally:
        for process in processes:
            await process.end()


async def _run(argv: Sequence[str], environment: Mapping[str, str], records: int) -> Measured:
    """Run a command to its end; its memory is read while it runs, because it is gone afterwards."""
    begun, most, cpu = time.perf_counter(), 0.0, 0.0
    process = await asyncio.create_subprocess_exec(
        *argv,
        env={"PATH": os.environ["PATH"], **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    ended = asyncio.ensure_future(process.communicate())
    try:
        async with asyncio.timeout(_LIMIT):
            while not (await asyncio.wait([ended], timeout=0.05))[0]:
                most, cpu = max(most, peak_memory(process.pid)), max(cpu, cpu_seconds(process.pid))
        said, complained = await ended
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {process.returncode}:\n{complained[-2000:]!r}{said[-2000:]!r}")
    seconds = time.perf_counter() - begun
    return Measured(seconds, records / seconds, cpu / records * 1e6, most)


def _environment(stage: Stage) -> dict[str, str]:
    return {
        **Queue(stage.rabbitmq_url, Service.TABLEINATOR).environment,
        "RABBITMQ_MANAGEMENT_URL": stage.management_url,
        "POSTGRES_DSN": stage.postgres_dsn,
        "NEO4J_URI": stage.neo4j_uri,
        "NEO4J_USERNAME": stage.neo4j_username,
        "NEO4J_PASSWORD": stage.neo4j_password,
        "NEO4J_DATABASE": stage.neo4j_database,
    }


async def _sizes(tables: Tables, graph: Graph, home: Path) -> dict[str, float]:
    """What the stores take on the disk, in MB, without their logs."""
    await graph.ask("CALL db.checkpoint()")  # until then most of it is in memory
    [row] = await tables.fetch("SELECT pg_database_size(current_database())")
    files = (home / "stack/neo4j/data/databases").rglob("*")
    return {"postgresql": row[0] / 1e6, "neo4j": sum(path.stat().st_size for path in files if path.is_file()) / 1e6}


def table_of(levels: Sequence[Level]) -> Table:
    """What a person reads: a column for each level."""
    table = Table("", *(f"{level.records:,}" for level in levels))
    for store in STORES.values():
        parts = [level.loaded[store] for level in levels]
        for name, cells in (
            ("records/s, first tenth", [f"{part.tenths[0]:,.0f}" for part in parts]),
            ("records/s, last tenth", [f"{part.tenths[-1]:,.0f}" for part in parts]),
            ("service's memory, MB", [f"{part.memory_mb:,.0f}" for part in parts]),
            ("store, MB", [f"{part.store_mb:,.0f}" for part in parts]),
        ):
            table.add_row(f"{store}: {name}", *cells)
    asked = {f"check of {store}": [level.check[store] for level in levels] for store in STORES.values()}
    asked["verify of both"] = [level.verify for level in levels]
    for name, found in asked.items():
        table.add_row(f"{name}: records/s", *(f"{each.rate:,.0f}" for each in found))
        table.add_row(f"{name}: CPU of a record, µs", *(f"{each.cpu_us:,.1f}" for each in found))
        table.add_row(f"{name}: memory, MB", *(f"{each.memory_mb:,.0f}" for each in found))
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run; return the exit code: 1 if something failed or differs, 2 if it can't run like this, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description="Measure loads while the stores grow.")
    parser.add_argument("--records", type=int, action="append", metavar="N", help=f"a level (default: {LEVELS})")
    parser.add_argument("--json", type=Path, default=RESULT, metavar="FILE", help=f"the result (default {RESULT})")
    arguments = parser.parse_args(argv)
    if os.environ.get("TEST_POSTGRES_DSN") or os.environ.get("TEST_NEO4J_URI") or os.environ.get("TEST_RABBITMQ_URL"):
        parser.error("it measures on servers of its own: unset the TEST_… variables")
    logs.configure("bench", level="error")
    stop_on_sigterm()
    console, levels = Console(width=110, highlight=False), []
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    try:
        for records in arguments.records or LEVELS:
            with files() as folder, running(SERVERS, console.print) as addresses:
                console.print(f"loading {records:,} records")
                levels.append(
                    asyncio.run(measure(records, stage_of(_SETTINGS, addresses, folder), default_home("bench")))
                )
            arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(levels)))
            console.print(table_of(levels))
    except (StartRefused, StackFailed) as error:
        print(error, file=sys.stderr)
        return 2
    except (RuntimeError, TimeoutError, subprocess.TimeoutExpired) as error:
        print(str(error) or "it took too long", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted: the servers are stopped; the levels that were measured are written.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
