"""The PostgreSQL sink passes the Sink contract, on a real server."""

import json
from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlsplit

import pytest

from common.loads import LoadErrors
from tableinator.model import Row
from tableinator.ops.ledger import read_errors
from tableinator.sink import TableSink
from tableinator.store import TableStore, open_store
from tests.contract.proxy import Proxy, cuttable_proxy
from tests.contract.sink import SinkContract, SinkHarness, Stored
from tests.integration.tables import at, fetch, own_schema, settings
from tests.servers.servers import Postgres


class TableHarness(SinkHarness):
    """One table in a schema of its own; the sink's connections go through a proxy that can be cut."""

    def __init__(self, store: TableStore, other: TableStore, proxy: Proxy, dsn: str) -> None:
        self.sink: TableSink = store.sink("artists")
        self._other = other
        self._proxy = proxy
        self._dsn = dsn

    def another_sink(self) -> TableSink:
        return self._other.sink("artists")

    def make(self, record_id: str, payload: str, *, sha256: str, version: str | None) -> Row:
        return Row(record_id, sha256, version, json.dumps({"id": record_id, "name": payload}).encode())

    async def stored(self) -> Mapping[str, Stored]:
        rows = await fetch(self._dsn, "SELECT data_id, data->>'name' AS name, version FROM artists")
        return {row["data_id"]: Stored(row["name"], row["version"]) for row in rows}

    async def errors(self) -> list[LoadErrors]:
        return await read_errors(settings(self._dsn).postgres)

    def make_refused(self, record_id: str) -> Row:
        return Row(record_id, "a hash", "20250201", rb'{"name": "NUL \u0000 in a text"}')

    async def break_store(self) -> bool:
        self._proxy.cut()
        return True

    async def mend_store(self) -> None:
        self._proxy.mend()


class TestTableSink(SinkContract):
    @pytest.fixture
    async def harness(self, each_postgres: Postgres) -> AsyncIterator[TableHarness]:
        parts = urlsplit(each_postgres.dsn)
        async with (
            own_schema(each_postgres.dsn) as dsn,
            cuttable_proxy(parts.hostname or "127.0.0.1", parts.port or 5432) as proxy,
            open_store(settings(at(dsn, port=proxy.port), writers=2)) as store,
            open_store(settings(dsn, writers=2)) as other,
        ):
            yield TableHarness(store, other, proxy, dsn)
