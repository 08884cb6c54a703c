"""How long a record is on its way, from the hand-over to the client library until its commit, at steady rates.

Of tables PostgreSQL itself says when each row was committed (track_commit_timestamp). Neo4j does not: there it is
graphinator's own histogram, evenly within its buckets. The first second is not counted.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from bench.arms import Arm, Run, Watch
from bench.consumers import Consumer
from bench.graph_store import Graph
from bench.pacing import publish_at
from bench.percentiles import SHARES, percentile, percentile_of_buckets
from bench.queues import Queue
from bench.race import until
from bench.stage import Stage
from bench.tables import TABLE, Tables
from common.kinds import Service
from extractor.message import Message

TABLE_RATES = (100, 1000, 4000)
GRAPH_RATES = (100, 1000)
SECONDS = 5
_HISTOGRAM = "spindle_publish_to_commit_seconds_bucket"
_COMMITTED = f"SELECT data_id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM {TABLE}"


class Latency:
    """A service that has nothing else to do, and records one after the other."""

    service: Service
    store: str

    def __init__(self, stage: Stage, rate: int) -> None:
        self.name = f"latency_{self.store}_{rate}"
        self.stage, self._rate = stage, rate
        self.queue = Queue(stage.rabbitmq_url, self.service)
        self.consumer: Consumer | None = None

    @abstractmethod
    def settings(self) -> Mapping[str, str]:
        """What leads the service to its store."""

    @abstractmethod
    async def empty(self) -> None:
        """Have the store empty."""

    @abstractmethod
    async def stored(self) -> int:
        """How many records are committed."""

    @abstractmethod
    async def milliseconds(self, handed: Mapping[str, float]) -> dict[str, float]:
        """The percentiles of these records."""

    async def prepare(self) -> None:
        """Have the queue and the store empty and the service waiting."""
        await self.empty()
        await self.queue.make()
        environment = {**self.queue.environment, **self.settings(), "RABBITMQ_SOURCE": "fast"}
        consumer = self.consumer = Consumer(self.service, environment, self.stage.folder / f"{self.name}.log")
        await until(consumer.is_ready, lambda: consumer.log if consumer.has_ended else None)

    async def run(self, watch: Watch) -> Run:
        """Publish a second for nothing, then what counts."""
        total = min(len(self.stage.releases), self._rate * (SECONDS + 1))
        await self._publish(self.stage.releases[: self._rate])
        await self.begin()
        watch.start()
        counted = self.stage.releases[self._rate : total]
        handed = await self._publish(counted)
        watch.stop()
        spread = max(handed.values()) - min(handed.values())
        return Run(len(counted), {**await self.milliseconds(handed), "published_per_s": len(counted) / spread})

    async def begin(self) -> None:
        """What counts begins now."""

    async def check(self) -> None:
        """Nothing more: every record was waited for."""

    def processes(self) -> Mapping[str, int]:
        """The service."""
        return {"consumer": self.consumer.pid} if self.consumer else {}

    async def end(self) -> None:
        """Stop the service."""
        if self.consumer is not None:
            await self.consumer.end()
            self.consumer = None

    async def _publish(self, messages: Sequence[Message]) -> dict[str, float]:
        """Publish, and wait until all is stored."""
        before = await self.stored()
        handed = await publish_at(self._rate, self.queue, messages, load=self.stage.load.date)

        async def all_stored() -> bool | None:
            return True if await self.stored() >= before + len(messages) else None

        await until(all_stored, lambda: None)
        return handed


class TableLatency(Latency):
    """tableinator."""

    service, store = Service.TABLEINATOR, "tables"
    _tables: Tables

    def settings(self) -> Mapping[str, str]:
        """PostgreSQL."""
        return {"POSTGRES_DSN": self.stage.postgres_dsn}

    async def empty(self) -> None:
        """Have an empty table."""
        self._tables = await Tables.connect(self.stage.postgres_dsn)
        await self._tables.make()

    async def stored(self) -> int:
        """Count rows."""
        return await self._tables.count()

    async def milliseconds(self, handed: Mapping[str, float]) -> dict[str, float]:
        """Ask when each row was committed."""
        waits = [at - handed[row] for row, at in await self._tables.fetch(_COMMITTED) if row in handed]
        return {f"{name}_ms": percentile(waits, share) * 1000 for name, share in SHARES.items()}

    async def end(self) -> None:
        """Stop the service, and disconnect."""
        await super().end()
        await self._tables.close()


class GraphLatency(Latency):
    """graphinator."""

    service, store = Service.GRAPHINATOR, "graph"
    _graph: Graph
    _before: Mapping[float, float]

    def settings(self) -> Mapping[str, str]:
        """Neo4j."""
        stage = self.stage
        return {
            "NEO4J_URI": stage.neo4j_uri,
            "NEO4J_USERNAME": stage.neo4j_username,
            "NEO4J_PASSWORD": stage.neo4j_password,
            "NEO4J_DATABASE": stage.neo4j_database,
        }

    async def empty(self) -> None:
        """Have an empty graph."""
        self._graph = Graph(self.stage)
        await self._graph.empty()

    async def stored(self) -> int:
        """Count releases that are more than a name in another's record: releases name no releases."""
        return await self._graph.count()

    async def begin(self) -> None:
        """Remember the histogram as it is."""
        assert self.consumer is not None
        self._before = self.consumer.buckets(_HISTOGRAM)

    async def milliseconds(self, handed: Mapping[str, float]) -> dict[str, float]:
        """Ask the service."""
        assert self.consumer is not None
        after = self.consumer.buckets(_HISTOGRAM)
        buckets = {bound: count - self._before.get(bound, 0.0) for bound, count in after.items()}
        return {f"{name}_ms": percentile_of_buckets(buckets, share) * 1000 for name, share in SHARES.items()}

    async def end(self) -> None:
        """Stop the service, and disconnect."""
        await super().end()
        await self._graph.close()


def arms(stage: Stage) -> list[Arm]:
    """Both services at their rates."""
    return [
        *(TableLatency(stage, rate) for rate in TABLE_RATES),
        *(GraphLatency(stage, rate) for rate in GRAPH_RATES),
    ]
