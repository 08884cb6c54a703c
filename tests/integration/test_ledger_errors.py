"""Errors of loads in both stores' ledgers: what real servers refuse, delay or cut off, by load and by result."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from common.errors import SinkError, StartRefused, StoreUnavailable, WriteConflict
from common.ledger import Ledger
from common.loads import LoadErrors
from common.pipeline.pipeline import Pipeline
from common.progress import Numbers
from common.storing.breaker import Breaker
from common.telemetry.metrics import REGISTRY, KindMetrics
from graphinator.ledger import LOAD_ERRORS
from graphinator.ops import ledger as of_graph
from graphinator.schema import name_of
from graphinator.store import GraphStore
from tableinator import ledger
from tableinator.ops import ledger as of_tables
from tableinator.store import TableStore, open_store
from tests.contract.proxy import Proxy, cuttable_proxy
from tests.fakes import FakeDeadLetters, FakeSource, body, consumer_settings
from tests.integration import graphs, tables
from tests.integration.test_grants_postgresql import granted
from tests.integration.test_graph_outage import configured
from tests.integration.test_graph_races import COMMIT
from tests.servers import servers
from tests.servers.native import OwnNeo4j

LOAD, OTHER = "20260301", "20260401"
LIMIT = 2.0  # seconds that a transaction may take

_numbers = count()


class Place(ABC):
    """One kind in one store, behind a proxy, and what can be the matter with it."""

    store: Any
    proxy: Proxy
    errors_of_ledger: bytes
    """What the statement that writes errors has in it."""
    commit: bytes
    """What a commit is on the wire."""

    @abstractmethod
    async def errors(self) -> list[LoadErrors]:
        """What the ledger says."""

    @abstractmethod
    def locked(self, record_id: str) -> AbstractAsyncContextManager[None]:
        """Somebody else has a lock that a record needs."""

    @abstractmethod
    async def refusing(self) -> bytes:
        """A message whose record the store refuses from now on."""

    @abstractmethod
    async def end_waiting(self) -> None:
        """End, as a conflict, the transaction that waits for a lock, if the store does not by itself."""


class Tables(Place):
    """PostgreSQL."""

    errors_of_ledger, commit = b"spindle_errors", b"COMMIT\0"

    def __init__(self, store: TableStore, proxy: Proxy, dsn: str) -> None:
        self.store, self.proxy, self._dsn = store, proxy, dsn

    async def errors(self) -> list[LoadErrors]:
        return await of_tables.read_errors(tables.settings(self._dsn).postgres)

    @asynccontextmanager
    async def locked(self, record_id: str) -> AsyncIterator[None]:
        connection = await asyncpg.connect(self._dsn, timeout=10)
        try:
            await connection.execute("BEGIN")
            await connection.execute("INSERT INTO artists VALUES ($1, '', '{}')", record_id)
            yield
        finally:
            await connection.close(timeout=30)

    async def refusing(self) -> bytes:
        await tables.run(self._dsn, "ALTER TABLE artists ADD CONSTRAINT never CHECK (data_id <> '3')")
        return body(3)

    async def end_waiting(self) -> None:
        return


class Graph(Place):
    """Neo4j."""

    errors_of_ledger, commit = b"SpindleErrors", COMMIT

    def __init__(self, store: GraphStore, proxy: Proxy, server: servers.Neo4j) -> None:
        self.store, self.proxy, self._server = store, proxy, server

    async def errors(self) -> list[LoadErrors]:
        return await of_graph.read_errors(graphs.settings(self._server).neo4j)

    @asynccontextmanager
    async def locked(self, record_id: str) -> AsyncIterator[None]:
        async with graphs.driver(self._server) as direct, direct.session(database=self._server.database) as session:
            transaction = await session.begin_transaction(timeout=60)
            await (await transaction.run("MERGE (a:Artist {id: $id}) SET a.name = 'theirs'", id=record_id)).consume()
            yield
            await transaction.rollback()

    async def refusing(self) -> bytes:
        return b'{"type": "data", "id": 3, "sha256": "a hash", "aliases": [{"id": "' + b"x" * 40_000 + b'"}]}'

    async def end_waiting(self) -> None:
        blocked = (
            "SHOW TRANSACTIONS YIELD transactionId, status, metaData"
            " WHERE metaData.app = 'graphinator' AND status STARTS WITH 'Blocked' RETURN transactionId"
        )
        async with asyncio.timeout(30):
            while not (rows := await graphs.fetch(self._server, blocked)):
                await asyncio.sleep(0.05)  # the server is another process, which tells nobody
        await graphs.fetch(self._server, "TERMINATE TRANSACTION $id YIELD message RETURN message", id=rows[0][0])


@dataclass(frozen=True, slots=True)
class Line:
    """A pipeline between a source and dead letters in memory, and a real store."""

    service: str
    source: FakeSource
    letters: FakeDeadLetters
    ledger: Ledger

    def failed(self, result: str) -> float:
        """How many transactions ended so, as the metrics have it."""
        labels = {"service": self.service, "kind": "artists", "result": result}
        return REGISTRY.get_sample_value("spindle_transactions_total", labels) or 0.0

    def settled(self) -> bool:
        return not self.source.unacknowledged and not self.source.ready


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not claim():
            await asyncio.sleep(0.01)  # the store is another process, which tells nobody


@asynccontextmanager
async def running(place: Place, *, size: int = 50) -> AsyncIterator[Line]:
    """Artists, one writer, batches of at most `size`. At its end the line is drained, which writes what waits."""
    sink = place.store.sink("artists")
    line = Line(f"errors{next(_numbers)}", FakeSource(prefetch=4 * size), FakeDeadLetters(), sink.ledger)
    breaker = Breaker(service=line.service, store=place.store.name)
    pipeline: Pipeline[Any] = Pipeline(
        consumer_settings(writers=1, batch_size=size),
        source=line.source,
        project=place.store.projection("artists"),
        sink=sink,
        breaker=breaker,
        dead_letters=line.letters,
        metrics=KindMetrics(line.service, "artists"),
        slots=place.store.slots("artists"),
    )
    line.letters.on_confirmed = pipeline.confirmed
    async with asyncio.TaskGroup() as tasks:
        probing = tasks.create_task(breaker.run())
        flow = tasks.create_task(pipeline.run())
        yield line
        line.source.stop()
        breaker.stop()
        await flow
        probing.cancel()


@asynccontextmanager
async def place_of_tables(dsn: str) -> AsyncIterator[Tables]:
    parts = urlsplit(dsn)
    async with cuttable_proxy(parts.hostname or "127.0.0.1", parts.port or 5432) as proxy:
        settings = tables.settings(tables.at(dsn, port=proxy.port), command_timeout=LIMIT, writers=1)
        async with open_store(settings) as store:
            yield Tables(store, proxy, dsn)


@asynccontextmanager
async def place_of_graph(server: Any, *, limit: float = LIMIT) -> AsyncIterator[Graph]:
    async with (
        cuttable_proxy(*graphs.address(server)) as proxy,
        graphs.opened(server, port=proxy.port, writers=1, transaction_timeout=limit) as store,
    ):
        yield Graph(store, proxy, server)


@pytest.fixture(params=["tables", "graph"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        if request.param == "tables":
            dsn = await stack.enter_async_context(tables.own_schema(request.getfixturevalue("postgres").dsn))
            yield await stack.enter_async_context(place_of_tables(dsn))
        else:
            yield await stack.enter_async_context(place_of_graph(request.getfixturevalue("empty_neo4j")))


async def found(place: Place) -> dict[tuple[str, str], tuple[int, str]]:
    """What the ledger says, by load and result: how many, and the last one."""
    errors = await place.errors()
    assert {met.kind for met in errors} <= {"artists"}
    assert all(met.first_at <= met.last_at for met in errors)
    return {(met.load, met.result): (met.errors, met.last_error) for met in errors}


async def test_a_lock_that_another_holds_is_a_conflict_of_the_load_that_waits(place: Place) -> None:
    async with running(place) as line:
        async with place.locked("1"):
            line.source.put(body(1), body(2), load=LOAD)
            await place.end_waiting()
            await until(lambda: line.failed("conflict") >= 1)
        await until(line.settled)
        conflicts = line.failed("conflict")

    [(key, (counted, last))] = (await found(place)).items()
    assert (key, counted) == ((LOAD, "conflict"), conflicts)
    assert last.endswith(("LockNotAvailableError 55P03", ".Transaction.LockClientStopped", ".Transaction.Terminated"))


async def test_an_outage_is_counted_with_its_probes_and_written_when_it_is_over(place: Place) -> None:
    async with running(place) as line:
        line.source.put(body(1), load=OTHER)
        await until(line.settled)
        place.proxy.cut()
        line.source.put(body(2), load=LOAD)
        await until(lambda: line.failed("unavailable") >= 3)
        place.proxy.mend()
        await until(line.settled)
        failed = line.failed("unavailable")

    [(key, (counted, last))] = (await found(place)).items()
    assert (key, counted) == ((LOAD, "unavailable"), failed)
    assert " " not in last and last.isidentifier(), "a class, and no text"


async def test_an_answer_that_is_cut_off_while_errors_are_written_loses_none(place: Place) -> None:
    async with running(place) as line:
        await until(lambda: line.source.connected)
        place.proxy.lose_answer_to(place.errors_of_ledger)
        line.source.put(b"no JSON", load=LOAD)
        await until(line.settled)
        await until(lambda: place.proxy._fatal is None)

    assert await found(place) == {(LOAD, "dead_letter:not_json"): (1, "DecodeError")}


async def test_a_commit_of_errors_whose_answer_is_lost_may_count_them_twice_and_loses_none(place: Place) -> None:
    async with asyncio.timeout(60):
        ledger = place.store.sink("artists").ledger
        ledger.progress.count_error(LOAD, "conflict", "40P01", at=datetime.now(UTC))
        place.proxy.lose_answer_to(place.commit)
        with pytest.raises(StoreUnavailable):
            await ledger.note()
        assert ledger.progress.has_errors, "who knows?"
        await ledger.note()

    [(key, (counted, last))] = (await found(place)).items()
    assert (key, last) == ((LOAD, "conflict"), "40P01") and counted in (1, 2)
    assert not ledger.progress.waits


async def test_a_batch_that_takes_too_long_is_too_large_for_the_tables(dsn: str) -> None:
    async with place_of_tables(dsn) as place:
        await tables.run(
            dsn,
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.6); RETURN NEW; END'",
            "CREATE TRIGGER slow BEFORE INSERT ON artists FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        async with running(place) as line:
            line.source.put(*(body(number) for number in range(1, 5)), load=LOAD)
            await until(line.settled)
            failed = line.failed("too_large")

        assert await found(place) == {(LOAD, "too_large"): (failed, "QueryCanceledError 57014")}
        assert failed >= 1


async def test_a_batch_beyond_the_servers_memory_is_too_large_for_the_graph(
    own_neo4j: OwnNeo4j, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = ", ".join(f'{{"id": "group {number}"}}' for number in range(3))
    async with (
        configured(own_neo4j, monkeypatch, "db.memory.transaction.max=2m"),
        place_of_graph(own_neo4j, limit=60) as place,
        running(place, size=4000) as line,
    ):
        bodies = (f'{{"type": "data", "id": {each}, "sha256": "h", "groups": [{groups}]}}' for each in range(1, 4001))
        line.source.put(*(each.encode() for each in bodies), load=LOAD)
        await until(line.settled)
        failed = line.failed("too_large")
        await until(lambda: not line.ledger.progress.waits)
        errors = await found(place)

    [(key, (counted, last))] = errors.items()
    assert (key, counted) == ((LOAD, "too_large"), failed)
    assert failed >= 1 and last.endswith("General.MemoryPoolOutOfMemoryError")


async def test_what_the_store_refuses_is_counted_with_its_batch_and_its_dead_letter(place: Place) -> None:
    bad = await place.refusing()
    async with running(place) as line:
        line.source.put(body(1), body(2), bad, body(4), load=LOAD)
        await until(line.settled)
        failed = line.failed("refused")

    errors = await found(place)
    expected = "CheckViolationError 23514" if isinstance(place, Tables) else "DatabaseError.Statement.ExecutionFailed"
    assert set(errors) == {(LOAD, "refused"), (LOAD, "dead_letter:refused")}
    assert (errors[LOAD, "refused"][0], errors[LOAD, "dead_letter:refused"][0]) == (failed, 1)
    assert all(last.endswith(expected) for _, last in errors.values())


async def test_of_two_loads_in_one_batch_each_has_its_errors(place: Place) -> None:
    bad = await place.refusing()
    async with running(place) as line:
        line.source.put(b"{", b'{"type": "data", "id": []}', body(1), load=LOAD)
        line.source.put(bad, load=OTHER)
        line.source.put(body(4), load=None)
        await until(line.settled)
        together = line.failed("refused")

    errors = {key: counted for key, (counted, _) in (await found(place)).items()}
    assert {key for key in errors if "dead" in key[1]} == {
        (LOAD, "dead_letter:not_json"),
        (LOAD, "dead_letter:no_usable_id"),
        (OTHER, "dead_letter:refused"),
    }
    assert errors[OTHER, "refused"] == together, "every refusal was of the bad one"
    assert 1 <= errors[LOAD, "refused"] <= together and errors["", "refused"] >= 1, "and of all that were beside it"


BROKEN = {
    "gone": ("ALTER TABLE spindle_errors RENAME TO elsewhere",),
    "refusing": ("ALTER TABLE spindle_errors ADD CONSTRAINT never CHECK (kind = 'none')",),
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_table_of_errors_that_can_not_be_written_holds_no_batch(dsn: str, broken: str) -> None:
    async with open_store(tables.settings(dsn)) as store:
        sink = store.sink("artists")
        await tables.run(dsn, *BROKEN[broken])
        sink.ledger.progress.count_error(LOAD, "conflict", "40P01", at=datetime.now(UTC))
        sink.ledger.progress.add({LOAD: Numbers(batches=1, unchanged=1)})

        with pytest.raises(StoreUnavailable) as noted:
            await sink.ledger.note()
        assert not sink.ledger.progress.has_numbers, "they don't wait for the errors"
        await sink.probe(tables.row("1"))
        assert (await sink.write([tables.row("1")])).new == 1

        assert "spindle_errors" in (noted.value.alarm or "")
        assert sink.ledger.progress.waits


async def test_a_table_of_errors_that_another_locks_holds_a_writers_turn_for_a_second(dsn: str) -> None:
    async with open_store(tables.settings(dsn)) as store:
        sink = store.sink("artists")
        sink.ledger.progress.count_error(LOAD, "conflict", "40P01", at=datetime.now(UTC))
        other = await asyncpg.connect(dsn, timeout=10)
        try:
            await other.execute("BEGIN")
            await other.execute("LOCK TABLE spindle_errors IN SHARE MODE")
            async with asyncio.timeout(8):  # of the 24 s that a batch waits for a lock
                with pytest.raises(WriteConflict):
                    await sink.ledger.note()
            assert (await sink.write([tables.row("1")])).new == 1
            assert sink.ledger.progress.has_errors
        finally:
            await other.close(timeout=30)
        await sink.ledger.note()

    [met] = await of_tables.read_errors(tables.settings(dsn).postgres)
    assert met.errors == 1


async def test_a_constraint_that_refuses_the_graphs_errors_holds_no_batch(empty_neo4j: servers.Neo4j) -> None:
    async with graphs.opened(empty_neo4j) as store:
        sink = store.sink("artists")
        await graphs.fetch(empty_neo4j, "CREATE (:SpindleErrors {kind: 'artists'})")
        await graphs.fetch(empty_neo4j, "CREATE CONSTRAINT strange FOR (n:SpindleErrors) REQUIRE n.kind IS UNIQUE")
        try:
            sink.ledger.progress.count_error(LOAD, "conflict", "Deadlock", at=datetime.now(UTC))
            sink.ledger.progress.add({LOAD: Numbers(batches=1, unchanged=1)})
            with pytest.raises(StoreUnavailable) as noted:
                await sink.ledger.note()
            assert not sink.ledger.progress.has_numbers, "they don't wait for the errors"
            assert (await sink.write([graphs.record("artists", "1")])).new == 1
        finally:
            await graphs.fetch(empty_neo4j, "DROP CONSTRAINT strange")

    assert "SpindleErrors" in (noted.value.alarm or "")
    assert sink.ledger.progress.waits


# From a ledger that kept none


async def test_a_database_with_an_older_ledger_gets_the_table_and_keeps_the_rest(postgres: servers.Postgres) -> None:
    async with tables.own_schema(postgres.dsn) as dsn:
        settings = tables.settings(dsn)
        async with open_store(settings) as store:
            await store.sink("artists").write([tables.row("1")])
        await _forget_errors(dsn)
        with pytest.raises(SinkError, match="spindle_errors"):
            await of_tables.read_errors(settings.postgres)
        assert [load.totals.new for load in await of_tables.read_loads(settings.postgres)] == [1]

        async with open_store(settings):
            pass

        assert await tables.fetch(dsn, ledger.MISSING, [*ledger.TABLES, *ledger.VIEWS], ledger.FUNCTION) == []
        assert [load.totals.new for load in await of_tables.read_loads(settings.postgres)] == [1]


async def test_a_login_that_may_not_make_the_table_names_what_is_to_be_run(postgres: servers.Postgres) -> None:
    async with granted(postgres) as desk:
        await desk.start("setup")
        await _forget_errors(desk.admin)

        with pytest.raises(StartRefused, match=r"run deploy/grants/ledger\.sql") as refused:
            await desk.start("tableinator")
        assert "spindle_errors" in str(refused.value)
        await desk.start("setup")
        await desk.write("tableinator")


async def test_a_missing_privilege_on_the_table_is_named(postgres: servers.Postgres) -> None:
    async with granted(postgres) as desk:
        await desk.start("setup")
        await tables.run(desk.admin, f"REVOKE INSERT ON spindle_errors FROM {desk.logins.of('tableinator')}")

        with pytest.raises(StartRefused, match="GRANT INSERT ON spindle_errors TO CURRENT_USER"):
            await desk.start("tableinator")


async def test_a_graph_with_an_older_ledger_gets_the_constraint(empty_neo4j: servers.Neo4j) -> None:
    async with graphs.opened(empty_neo4j):
        await graphs.fetch(empty_neo4j, f"DROP CONSTRAINT {name_of(LOAD_ERRORS)}")
        assert await of_graph.read_errors(graphs.settings(empty_neo4j).neo4j) == []

    async with graphs.opened(empty_neo4j):
        names = await graphs.fetch(empty_neo4j, "SHOW CONSTRAINTS YIELD name RETURN name")

    assert [name_of(LOAD_ERRORS)] in names


async def _forget_errors(dsn: str) -> None:
    await tables.run(dsn, "DROP VIEW spindle_errors_by_load", "DROP TABLE spindle_errors")
