"""What the tables hold, published again: every body, to one queue, and gone on with after an interruption."""

import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from common.delivery import Delivery, Epoch, Properties
from common.errors import StartRefused
from common.kinds import Names, Service
from common.pipeline.decoding import decode
from common.rabbitmq.topology import declare
from common.settings.programs import BrokerSettings
from extractor.loads import SyntheticLoad, messages
from extractor.manifest.plan import Plan
from extractor.publishing import Job, check_kind
from extractor.settings import ExtractorSettings
from extractor.tally import Tally
from spindle.reprocessing import reprocess as module
from spindle.reprocessing.position import Position
from spindle.reprocessing.reprocess import reprocess
from spindle.show.command import look
from spindle.show.whereabouts import explain
from tableinator.settings import PostgresSettings
from tableinator.store import open_store
from tests.integration import tables
from tests.servers.amqp import Peer, new_names, peer_of
from tests.servers.servers import Postgres, RabbitMQ

KIND, SERVICE = "labels", Service.GRAPHINATOR
LOAD = SyntheticLoad(3000, seed=7, kinds=(KIND,))


class Interrupted(Exception):
    """As if the process had ended."""


@dataclass
class Site:
    """Tables with a load in them, and a broker with the graph's queue."""

    settings: ExtractorSettings
    postgres: PostgresSettings
    peer: Peer
    names: Names

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
        yield Site(settings, own.postgres, peer, names)
        await peer.delete_queue(names.queue(SERVICE, KIND))


async def test_every_stored_body_is_published_and_an_interrupted_run_goes_on(site: Site, tmp_path: Path) -> None:
    await declare(site.peer.connection, site.names, SERVICE, KIND)

    def interrupt(position: Position) -> None:
        if position.published == 100:
            raise Interrupted

    with pytest.raises(Interrupted):
        await reprocess(KIND, SERVICE, settings=site.settings, postgres=site.postgres, say=interrupt)
    first = await site.found()
    done = await reprocess(KIND, SERVICE, settings=site.settings, postgres=site.postgres)
    rest = await site.found()

    expected = {each.id: json.loads(each.body) for each in messages(LOAD, KIND)}
    assert len(first) == 100
    assert {body["id"]: body for body, _ in first + rest} == expected
    assert len(first) + len(rest) == len(expected) == done.published
    assert {load for _, load in first + rest} == {LOAD.date}
    assert os.listdir(tmp_path) == []  # noqa: PTH208 (no position is left)


async def test_without_the_queue_nothing_is_published(site: Site) -> None:
    with pytest.raises(StartRefused, match=r"there is no queue .*-graphinator-labels: start graphinator first"):
        await reprocess(KIND, SERVICE, settings=site.settings, postgres=site.postgres)


async def test_a_record_is_shown_where_it_is_and_what_can_not_be_asked_is_said(site: Site, tmp_path: Path) -> None:
    for service in Service:
        await declare(site.peer.connection, site.names, service, KIND)
    check_kind(Job(KIND, LOAD, site.settings, only_check=True, plan=Plan(tmp_path)), Tally(), lambda _: None)
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
    await site.peer.delete_queue(site.names.queue(Service.TABLEINATOR, KIND))
