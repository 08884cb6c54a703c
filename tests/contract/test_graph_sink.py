"""The Neo4j sink passes the Sink contract, on a real server."""

from collections.abc import AsyncIterator, Mapping

import pytest

from common.loads import LoadErrors
from graphinator.ops.ledger import read_errors
from graphinator.projection import GraphRecord, stored_hash
from graphinator.sink import GraphSink
from graphinator.store import GraphStore
from tests.contract.proxy import Proxy, cuttable_proxy
from tests.contract.sink import SinkContract, SinkHarness, Stored
from tests.integration.graphs import address, fetch, opened, settings
from tests.servers.servers import Neo4j

# Beyond what an index entry can hold: the server refuses the record, not the transaction's size.
TOO_LARGE_TO_INDEX = "x" * 40_000


class GraphHarness(SinkHarness):
    """The artists of an empty database; the sink's connections go through a proxy that can be cut."""

    def __init__(self, store: GraphStore, other: GraphStore, proxy: Proxy, server: Neo4j) -> None:
        self.sink: GraphSink = store.sink("artists")
        self._other = other
        self._proxy = proxy
        self._server = server

    def another_sink(self) -> GraphSink:
        return self._other.sink("artists")

    def make(self, record_id: str, payload: str, *, sha256: str, version: str | None) -> GraphRecord:
        # Every one an alias of the same artist: writers meet at more than their own records.
        return GraphRecord(record_id, stored_hash(sha256), version, [payload, None], [["alias"], []])

    async def stored(self) -> Mapping[str, Stored]:
        rows = await fetch(
            self._server,
            "MATCH (n:Artist) WHERE n.hash IS NOT NULL"
            " RETURN n.id, n.name, n.load, COUNT { (n)-[:ALIAS_OF]->(:Artist {id: 'alias'}) }",
        )
        assert {count for *_, count in rows} <= {1}, "a record's edge is there once"
        return {record_id: Stored(name, load) for record_id, name, load, _ in rows}

    async def errors(self) -> list[LoadErrors]:
        return await read_errors(settings(self._server).neo4j)

    def make_refused(self, record_id: str) -> GraphRecord:
        return GraphRecord(record_id, stored_hash("a hash"), "20250201", ["name", None], [[TOO_LARGE_TO_INDEX], []])

    async def break_store(self) -> bool:
        self._proxy.cut()
        return True

    async def mend_store(self) -> None:
        self._proxy.mend()


class TestGraphSink(SinkContract):
    @pytest.fixture
    async def harness(self, empty_neo4j: Neo4j) -> AsyncIterator[GraphHarness]:
        async with (
            cuttable_proxy(*address(empty_neo4j)) as proxy,
            opened(empty_neo4j, port=proxy.port, writers=2) as store,
            opened(empty_neo4j, writers=2) as other,
        ):
            yield GraphHarness(store, other, proxy, empty_neo4j)
