"""How long a record is on its way, from the hand-over to the client library until its commit, at steady rates.

Of tables PostgreSQL itself says when each row was committed (track_commit_timestamp). Neo4j does not: there it is
graphinator's own histogram, evenly within its buckets. The first second is not counted.
"""

from collections.abc import Mapping

from bench.arms import Arm
from bench.graph_store import Graph
from bench.latency import Latency
from bench.percentiles import SHARES, percentile, percentile_of_buckets
from bench.stage import Stage
from bench.tables import TABLE, Tables
from bench.warming import warm
from common.kinds import Service

TABLE_RATES = (100, 1000, 4000)
GRAPH_RATES = (100, 1000)
_HISTOGRAM = "spindle_publish_to_commit_seconds_bucket"
_COMMITTED = f"SELECT data_id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM {TABLE}"


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
        """Have an empty graph, and a warm server."""
        self._graph = Graph(self.stage)
        await warm(self._graph, self.stage)

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
