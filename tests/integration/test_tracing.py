"""A message that was sent within a span, and the span of the batch in which its record was committed: real servers."""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from common.kinds import Names, Service
from tests.e2e.services import Running, Services
from tests.integration.tables import fetch
from tests.servers.amqp import Peer, new_names, peer_of
from tests.servers.collector import Collector, children, collecting, links, values
from tests.servers.servers import RabbitMQ

KIND = "artists"
MARK = "nobody-may-read-this"
PATIENT = {"OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
"""The SDK tries for so long that only a service which does not wait for it drops spans before the end."""


@pytest.fixture
def names() -> Names:
    return new_names()


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = Services(tmp_path)
    yield services
    services.end()
    print(services.report())


@pytest.fixture
def environment(rabbitmq: RabbitMQ, names: Names, dsn: str) -> dict[str, str]:
    return {
        "RABBITMQ_URL": rabbitmq.url,
        "DISCOGS_EXCHANGE_PREFIX": names.prefix,
        "POSTGRES_DSN": dsn,
        "KINDS": KIND,
        "LOG_LEVEL": "info",
    }


@pytest.fixture
async def peer(rabbitmq: RabbitMQ) -> AsyncIterator[Peer]:
    async with peer_of(rabbitmq.url) as peer:
        yield peer


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def record(number: int, **more: object) -> bytes:
    return json.dumps({"type": "data", "id": str(number), "sha256": f"{number:064x}", **more}).encode()


async def publish(peer: Peer, names: Names, count: int, headers: Mapping[int, str]) -> None:
    """Publish so many records, some with a `traceparent`."""
    for number in range(count):
        traced = {"traceparent": headers[number]} if number in headers else {}
        await peer.publish(names.exchange(KIND), record(number + 1), headers=traced)


def context(number: int) -> tuple[str, str]:
    return f"{number + 1:032x}", f"{number + 1:016x}"


def batches(collector: Collector) -> list[Span]:
    return [span for span in collector.spans() if span.kind == Span.SPAN_KIND_CONSUMER]


def dropped_at_the_end(service: Running) -> list[int]:
    """Spans, of each line that says so: a batch's, and those of its transactions."""
    lines = re.findall(r"Spans dropped: the collector did not take them before the end count=(\d+)", service.log)
    return [int(count) for count in lines]


async def stored(dsn: str) -> int:
    return int((await fetch(dsn, "SELECT count(*) FROM artists"))[0][0])


@pytest.mark.parametrize("source", ["fast", "aio-pika"])
async def test_a_batch_is_linked_with_the_spans_that_its_messages_were_sent_in(
    services: Services,
    environment: dict[str, str],
    peer: Peer,
    names: Names,
    collector: Collector,
    dsn: str,
    source: str,
) -> None:
    sampled = {number: f"00-{'-'.join(context(number))}-01" for number in range(0, 40, 3)}
    unsampled = {number: f"00-{'-'.join(context(number))}-00" for number in range(1, 40, 3)}
    service = await services.start(
        Service.TABLEINATOR, environment | collector.environment | {"RABBITMQ_SOURCE": source}
    )

    await publish(peer, names, 40, sampled | unsampled)
    await service.until_settled(40)
    code, _ = await service.stop()

    assert (code, await stored(dsn)) == (0, 40)
    found = batches(collector)
    assert sorted(link for span in found for link in links(span)) == sorted(map(context, sampled))
    attributes = [values(span.attributes) for span in found]
    assert sum(each["messaging.batch.message_count"] for each in attributes) == 40
    assert sum(each["spindle.outcome.new"] for each in attributes) == 40
    assert {each["messaging.destination.name"] for each in attributes} == {
        f"{names.exchange(KIND)}:{names.queue(Service.TABLEINATOR, KIND)}"
    }
    for span in found:
        [transaction] = children(collector.spans(), span)
        assert values(transaction.attributes)["spindle.transaction.result"] == "stored"
        assert span.start_time_unix_nano <= transaction.start_time_unix_nano
        assert transaction.end_time_unix_nano <= span.end_time_unix_nano
    assert collector.resource()["service.name"] == "tableinator"


async def test_a_refused_transaction_has_its_sqlstate_and_nothing_of_the_record(
    services: Services, environment: dict[str, str], peer: Peer, names: Names, collector: Collector
) -> None:
    service = await services.start(Service.TABLEINATOR, environment | collector.environment)

    await peer.publish(names.exchange(KIND), record(1), record(2, name=f"{MARK}\0"), record(3))
    await service.until_settled(3)
    await service.stop()

    spans = collector.spans()
    refused = [
        values(span.attributes)
        for span in spans
        if span.kind == Span.SPAN_KIND_CLIENT and span.status.code == Status.STATUS_CODE_ERROR
    ]
    assert refused
    assert {(each["spindle.transaction.result"], each["db.response.status_code"]) for each in refused} == {
        ("refused", "22P05")
    }
    assert sum(values(span.attributes)["spindle.batch.quarantined"] for span in batches(collector)) == 1
    assert not any(MARK.encode() in body for body in collector.bodies)


async def test_with_a_collector_that_is_down_everything_is_stored_and_the_end_does_not_wait_for_it(
    services: Services, environment: dict[str, str], peer: Peer, names: Names, collector: Collector, dsn: str
) -> None:
    nobody = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    service = await services.start(Service.TABLEINATOR, environment | collector.environment | PATIENT | nobody)

    await publish(peer, names, 60, {number: f"00-{'-'.join(context(number))}-01" for number in range(60)})
    await service.until_settled(60)
    code, seconds = await service.stop()

    assert (code, await stored(dsn)) == (0, 60)
    assert seconds < 20, "the SDK alone would wait for 30"
    assert [count >= 2 for count in dropped_at_the_end(service)] == [True]
    assert service.log.count("Spans dropped") == 1


async def test_the_end_does_not_wait_for_a_collector_that_never_answers(
    services: Services, environment: dict[str, str], peer: Peer, names: Names, collector: Collector, dsn: str
) -> None:
    collector.may_answer.clear()
    service = await services.start(Service.TABLEINATOR, environment | collector.environment | PATIENT)

    await publish(peer, names, 10, {})
    await service.until_settled(10)
    code, seconds = await service.stop()

    assert (code, await stored(dsn)) == (0, 10)
    assert seconds < 20, "the SDK alone would wait for 30"
    assert [count >= 2 for count in dropped_at_the_end(service)] == [True]


async def test_off_nothing_of_opentelemetry_is_imported_all_the_way(
    services: Services, environment: dict[str, str], peer: Peer, names: Names, collector: Collector
) -> None:
    told = {"PYTHONPROFILEIMPORTTIME": "1"}
    off = await _through(services, environment | told, peer, names)
    on = await _through(services, environment | told | collector.environment, peer, names)

    assert "opentelemetry" in on.log
    assert "opentelemetry" not in off.log
    assert "asyncpg" in off.log


async def _through(services: Services, environment: dict[str, str], peer: Peer, names: Names) -> Running:
    """Carry some records, from the start to the end."""
    service = await services.start(Service.TABLEINATOR, environment)
    await publish(peer, names, 5, {0: f"00-{'-'.join(context(0))}-01"})
    await service.until_settled(5)
    await service.stop()
    return service
