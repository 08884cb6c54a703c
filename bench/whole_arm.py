"""The whole way: the extractor makes records of all kinds, both services store them, both stores are verified."""

import sys
import time
from collections.abc import Mapping

from pydantic import SecretStr

from bench.arms import Arm, Run, Watch, WrongStore
from bench.consumers import Consumer, Process
from bench.graph_store import Graph
from bench.queues import Queue
from bench.race import until
from bench.stage import Stage
from bench.tables import Tables
from bench.warming import warm
from common.kinds import KINDS, Service
from extractor.synthetic.synthetic import SyntheticLoad
from graphinator.ops.reader import open_reader
from graphinator.settings import Neo4jSettings
from spindle.verification.expectation import Expectation
from spindle.verification.findings import StoreFindings
from spindle.verification.graph import compare_graph
from spindle.verification.tables import compare_table
from tableinator.settings import PostgresSettings

_LOOK = 0.1  # seconds: counting four tables is work too


class Whole:
    """Extractor to both stores, in the proportions of a whole dump."""

    name = "whole"

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._load = SyntheticLoad(stage.graph_records, stage.load.seed)
        self._queues = [Queue(stage.rabbitmq_url, service, kind) for service in Service for kind in KINDS]
        self._consumers: dict[str, Consumer] = {}
        self._extractor: Process | None = None
        self._tables: Tables | None = None
        self._graph: Graph | None = None

    async def prepare(self) -> None:
        """Have everything empty, and both services waiting."""
        stage = self._stage
        self._tables, self._graph = await Tables.connect(stage.postgres_dsn), Graph(stage)
        await self._tables.make(*KINDS)
        await warm(self._graph, stage)
        for queue in self._queues:
            await queue.make()
        for service in Service:
            environment = {**self._queues[0].environment, **self._stores(), "KINDS": ",".join(KINDS)}
            consumer = Consumer(service, environment, stage.folder / f"{self.name}-{service}.log")
            self._consumers[service] = consumer
            await until(consumer.is_ready, self._lost)

    async def run(self, watch: Watch) -> Run:
        """Extract, and wait until both stores hold everything."""
        argv = [sys.executable, "-m", "extractor", "--synthetic", str(self._load.count), "--seed", str(self._load.seed)]
        watch.start()
        begun = time.perf_counter()
        self._extractor = Process(argv, self._queues[0].environment, self._stage.folder / f"{self.name}-extractor.log")
        seconds = {}
        for name, complete in (("tables", self._tables_complete), ("graph", self._graph_complete)):
            await until(complete, self._lost, every=_LOOK)
            seconds[f"{name}_seconds"] = time.perf_counter() - begun
        watch.stop()
        return Run(self._load.count, seconds)

    async def check(self) -> None:
        """Verify both stores, record by record."""
        stage = self._stage
        postgres = PostgresSettings(dsn=SecretStr(stage.postgres_dsn))
        async with open_reader(self._neo4j()) as reader:
            for kind in KINDS:
                expectation = Expectation(self._load, kind)
                _refuse(await compare_table(expectation, postgres))
                _refuse((await compare_graph(expectation, reader))[0])

    def processes(self) -> Mapping[str, int]:
        """Both services, and the extractor while it runs."""
        running = {name: consumer.pid for name, consumer in self._consumers.items()}
        if self._extractor is not None and not self._extractor.has_ended:
            running["extractor"] = self._extractor.pid
        return running

    async def end(self) -> None:
        """Stop what runs."""
        for process in (self._extractor, *self._consumers.values()):
            if process is not None:
                await process.end()
        self._extractor, self._consumers = None, {}
        if self._tables is not None:
            await self._tables.close()
        if self._graph is not None:
            await self._graph.empty()
            await self._graph.close()
        self._tables = self._graph = None

    def _stores(self) -> dict[str, str]:
        stage = self._stage
        return {
            "POSTGRES_DSN": stage.postgres_dsn,
            "NEO4J_URI": stage.neo4j_uri,
            "NEO4J_USERNAME": stage.neo4j_username,
            "NEO4J_PASSWORD": stage.neo4j_password,
            "NEO4J_DATABASE": stage.neo4j_database,
            "RABBITMQ_SOURCE": "fast",
        }

    def _neo4j(self) -> Neo4jSettings:
        stage = self._stage
        return Neo4jSettings(
            uri=stage.neo4j_uri,
            username=stage.neo4j_username,
            password=SecretStr(stage.neo4j_password),
            database=stage.neo4j_database,
        )

    async def _tables_complete(self) -> bool | None:
        assert self._tables is not None
        return True if await self._tables.count(*KINDS) >= self._load.count else None

    async def _graph_complete(self) -> bool | None:
        assert self._graph is not None
        [[filled]] = await self._graph.ask("MATCH (n) RETURN count(n.hash)")
        return True if int(filled) >= self._load.count else None

    def _lost(self) -> str | None:
        for process in (self._extractor, *self._consumers.values()):
            # The extractor may end, but only well.
            if process is not None and process.has_ended and (process is not self._extractor or process.exit_code):
                return f"a process ended; its log says:\n{process.log[-2000:]}"
        return None


def arms(stage: Stage) -> list[Arm]:
    """The only one."""
    return [Whole(stage)]


def _refuse(found: StoreFindings) -> None:
    """Raise: WrongStore for anything that differs."""
    wrong = {name: finding.count for name, finding in found.problems() if finding.count}
    if wrong or found.agreeing != found.expected:
        raise WrongStore(f"{found.store} {found.kind}: {found.agreeing} of {found.expected} agree; {wrong}")
