"""What the tables hold, published again: every body, to one queue, and gone on with after an interruption."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from common.delivery import Delivery, Epoch, Properties
from common.errors import StartRefused, StoreUnavailable
from common.kinds import Names, Service
from common.pipeline.decoding import decode
from common.rabbitmq.topology import declare
from common.settings.programs import BrokerSettings
from extractor.loads import SyntheticLoad, messages
from extractor.manifest.plan import Plan
from extractor.publishing import Job, check_kind
from extractor.settings import ExtractorSettings
from extractor.tally import Tally
from spindle.cli import main
from spindle.reprocessing import reprocess as module
from spindle.reprocessing.position import Position
from spindle.reprocessing.reprocess import ReprocessFailed, Wish, reprocess
from spindle.show.command import look
from spindle.show.whereabouts import explain
from tableinator.ops.pages import rows_behind
from tableinator.ops.reader import StoredRow
from tableinator.settings import PostgresSettings
from tableinator.store import open_store
from tests.integration import tables
from tests.servers.amqp import Peer, new_names, peer_of
from tests.servers.servers import Postgres, RabbitMQ

KIND, SERVICE = "labels", Service.GRAPHINATOR
LOAD = SyntheticLoad(3000, seed=7, kinds=(KIND,))
WISH = Wish(KIND, SERVICE)


class Interrupted(Exception):
    """As if the process had ended."""


@dataclass
class Site:
    """Tables with a load in them, and a broker with the graph's queue."""

    settings: ExtractorSettings
    postgres: PostgresSettings
    peer: Peer
    names: Names
    dsn: str

    async def found(self) -> list[tuple[dict[str, Any], Any]]:
        """What was published: bodies, and the loads in their headers."""
        taken = await self.peer.get_all(self.names.queue(SERVICE, KIND))
        return [(json.loads(each.body), (each.header.properties.headers or {}).get("load")) for each in taken]


@pytest.fixture
async def site(
    postgres: Postgres, rabbitmq: RabbitMQ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    monkeypatch.setattr(module, "_PAGE", 50)
    names = new_names()
    async with tables.own_schema(postgres.dsn) as dsn, peer_of(rabbitmq.url) as peer:
        own = tables.settings(dsn, kinds=(KIND,))
        async with open_store(own) as store:
            project: Any = store.projection(KIND)
            sent = [
                Delivery(1, Epoch(1), each.body, 0.0, LOAD.date, None, 0, Properties) for each in messages(LOAD, KIND)
            ]
            read: list[Any] = [decode(each, project) for each in sent]
            await store.sink(KIND).write(read)
        settings = ExtractorSettings(
            broker=BrokerSettings(url=SecretStr(rabbitmq.url)),
            discogs_exchange_prefix=names.prefix,
            spindle_state=str(tmp_path),
        )
        yield Site(settings, own.postgres, peer, names, dsn)
        await peer.delete_queue(names.queue(SERVICE, KIND))


async def interrupted(site: Site, *, at: int = 100) -> None:
    """A run that ends in its middle."""

    def interrupt(said: str, position: Position) -> None:
        if position.published == at:
            raise Interrupted

    with pytest.raises(Interrupted):
        await reprocess(WISH, settings=site.settings, postgres=site.postgres, say=interrupt)


async def test_every_stored_body_is_published_and_an_interrupted_run_goes_on(site: Site, tmp_path: Path) -> None:
    await declare(site.peer.connection, site.names, SERVICE, KIND)

    await interrupted(site)
    first = await site.found()
    done = await reprocess(WISH, settings=site.settings, postgres=site.postgres)
    rest = await site.found()

    expected = {each.id: json.loads(each.body) for each in messages(LOAD, KIND)}
    assert len(first) == 100
    assert {body["id"]: body for body, _ in first + rest} == expected
    assert len(first) + len(rest) == len(expected) == done.published
    assert {load for _, load in first + rest} == {LOAD.date}
    assert os.listdir(tmp_path) == []  # noqa: PTH208 (no position is left)


async def test_a_run_that_was_interrupted_long_ago_begins_again_unless_it_is_asked_to_go_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph may have been emptied meanwhile."""
    await declare(site.peer.connection, site.names, SERVICE, KIND)
    await interrupted(site)
    monkeypatch.setattr("spindle.reprocessing.position.FRESH", 0.0)
    began: list[Position] = []

    def note(said: str, position: Position) -> None:
        if said == "began":
            began.append(position)
            raise Interrupted

    for wish in (replace(WISH, resume=True), replace(WISH, unversioned=True, resume=True), WISH):
        with pytest.raises(Interrupted):
            await reprocess(wish, settings=site.settings, postgres=site.postgres, say=note)

    assert [position.published for position in began] == [100, 0, 0]


async def test_a_record_without_a_load_is_published_only_if_it_is_asked_for(site: Site) -> None:
    await declare(site.peer.connection, site.names, SERVICE, KIND)
    await tables.run(site.dsn, f"UPDATE {KIND} SET version = NULL WHERE data_id = '7'")

    without = await reprocess(WISH, settings=site.settings, postgres=site.postgres)
    ids = {body["id"] for body, _ in await site.found()}
    await reprocess(replace(WISH, unversioned=True), settings=site.settings, postgres=site.postgres)
    loads = {body["id"]: load for body, load in await site.found()}

    assert (without.passed_over, "7" in ids) == (1, False)
    assert without.published == len(ids) == len(loads) - 1
    assert loads["7"] is None


async def test_a_run_that_fails_in_its_middle_says_how_far_it_was(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await declare(site.peer.connection, site.names, SERVICE, KIND)

    async def once(settings: PostgresSettings, kind: str, after: str, count: int) -> list[StoredRow]:
        if after:
            raise StoreUnavailable("it is away.")
        return await rows_behind(settings, kind, after, count)

    monkeypatch.setattr(module, "rows_behind", once)

    with pytest.raises(
        ReprocessFailed, match=r"it is away\. Until then 50 records were published, up to id \d+; within"
    ):
        await reprocess(WISH, settings=site.settings, postgres=site.postgres)


async def test_a_row_that_nobody_can_read_back_is_named_counted_and_passed_over(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await declare(site.peer.connection, site.names, SERVICE, KIND)
    # What PostgreSQL raises for a row of more than a gigabyte, without the minute that it takes for that.
    await tables.run(
        site.dsn,
        f"ALTER TABLE {KIND} RENAME TO stored",
        """CREATE FUNCTION written_out(id text) RETURNS jsonb STABLE LANGUAGE plpgsql AS $$
        BEGIN RAISE 'string buffer exceeds maximum allowed length' USING ERRCODE = '54000'; END $$""",
        f"""CREATE VIEW {KIND} AS SELECT ctid, data_id, hash, version,
        CASE WHEN data_id = '7' THEN written_out(data_id) ELSE data END AS data FROM stored""",
    )
    for name, value in {
        "RABBITMQ_URL": site.settings.broker.url.get_secret_value(),
        "DISCOGS_EXCHANGE_PREFIX": site.names.prefix,
        "POSTGRES_DSN": site.postgres.dsn.get_secret_value(),
        "SPINDLE_STATE": str(site.settings.state),
    }.items():
        monkeypatch.setenv(name, value)

    code = await asyncio.to_thread(main, ["reprocess", KIND, "--to", "graph", "--json"])

    said, ids = capsys.readouterr(), {body["id"] for body, _ in await site.found()}
    summary = json.loads(said.out)
    assert (code, summary["unreadable"], summary["passed_over"]) == (1, 1, 0)
    assert ids == {each.id for each in messages(LOAD, KIND)} - {"7"}
    assert summary["published"] == len(ids)
    assert f"The row of {KIND} 7 can't be read" in said.err


async def test_without_the_queue_nothing_is_published(site: Site) -> None:
    with pytest.raises(StartRefused, match=r"there is no queue .*-graphinator-labels: start graphinator first"):
        await reprocess(WISH, settings=site.settings, postgres=site.postgres)


async def test_a_record_is_shown_where_it_is_and_what_can_not_be_asked_is_said(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in Service:
        await declare(site.peer.connection, site.names, service, KIND)
    await check_kind(Job(KIND, LOAD, site.settings, only_check=True, plan=Plan(tmp_path)), Tally(), lambda _: None)
    environ = {
        "RABBITMQ_URL": site.settings.broker.url.get_secret_value(),
        "RABBITMQ_MANAGEMENT_URL": "none",
        "DISCOGS_EXCHANGE_PREFIX": site.names.prefix,
        "POSTGRES_DSN": site.postgres.dsn.get_secret_value(),
        "NEO4J_URI": "bolt://127.0.0.1:1",
        "SPINDLE_STATE": str(tmp_path),
    }

    found = await look(KIND, "1", environ)
    nobody = await look(KIND, "no such", environ)

    tables_say, graph_says = explain(found)
    assert tables_say == f"tables: current: as the dump of {LOAD.date} has it"
    assert graph_says.startswith("graph: can't tell: ")
    assert next(explain(nobody)) == f"tables: not stored, and the dump of {LOAD.date} does not have it"
    assert (found.dead, found.dead_problem) == ([], "")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert await asyncio.to_thread(main, ["show", KIND, "1"]) == 2
    await site.peer.delete_queue(site.names.queue(Service.TABLEINATOR, KIND))
