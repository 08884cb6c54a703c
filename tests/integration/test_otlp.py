"""Batches as spans at a collector: what they hold, how many wait, that nobody waits long and no secret is logged."""

import asyncio
import logging
import platform
import socket
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind
from structlog.testing import capture_logs

from common import VERSION
from common.batching.batch import Batch, Item, Trigger
from common.delivery import Delivery, Epoch, Properties
from common.errors import StartRefused
from common.outcomes import Outcomes
from common.settings.environment import load
from common.settings.programs import ConsumerProgramSettings
from common.sink import Result
from common.telemetry import otlp
from common.telemetry.metrics import REGISTRY, SpanResult
from common.telemetry.otlp import MOST_LINKS, MOST_READ, MOST_READ_BYTES, MOST_WAITING, OtlpExport, open_export
from common.telemetry.tracing import MOST_TRANSACTIONS, BatchTrace
from graphinator.settings import GraphinatorSettings
from tableinator.settings import TableinatorSettings
from tests.fakes import FakeRecord, consumer_settings
from tests.servers.collector import Collector, children, collecting, links, values

TOKEN = "tooth-fairy"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as collector:
        configure(monkeypatch, **collector.environment)
        yield collector


def configure(monkeypatch: pytest.MonkeyPatch, **environ: str) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


@contextmanager
def closed_port() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def trace_of(
    count: int,
    send: Callable[[BatchTrace], None],
    *,
    headers: Callable[[int], object] = lambda _: None,
    header_bytes: int = 0,
) -> BatchTrace:
    """The trace of a batch of so many records, with a header each; all of a message's weigh `header_bytes`."""
    epoch = Epoch(1)
    items = [
        Item(
            Delivery(number, epoch, b"x" * 10, 0.0, None, None, 0, properties(headers(number)), header_bytes),
            FakeRecord(str(number)),
        )
        for number in range(1, count + 1)
    ]
    return BatchTrace("artists", Batch(items, Trigger.SIZE), on_end=send)


def properties(header: object) -> Callable[[], Properties]:
    return lambda: Properties(headers={} if header is None else {"traceparent": header})


def traceparent(number: int, flags: str = "01") -> str:
    return f"00-{number:032x}-{number:016x}-{flags}"


def of_spans(lines: Sequence[MutableMapping[str, Any]]) -> list[Any]:
    """Without what else the process may say meanwhile: a publisher of another test's was heard that had no broker."""
    return [line for line in lines if "pans" in line["event"]]


def spans_counted(result: str) -> float:
    labels = {"service": "tableinator", "result": result}
    return REGISTRY.get_sample_value("spindle_trace_spans_total", labels) or 0.0


async def test_a_batch_is_a_span_of_the_messaging_conventions_with_its_numbers(collector: Collector) -> None:
    export = OtlpExport(consumer_settings())
    trace = trace_of(5, export.send)
    trace.stored(Outcomes(new=2, changed=1), superseded=1)
    trace.end(quarantined=1)

    await export.close(2.0)

    [span] = collector.spans()
    assert (span.name, span.kind) == ("process discogsography-discogs-tableinator-artists", Span.SPAN_KIND_CONSUMER)
    assert values(span.attributes) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "discogsography-discogs-artists:discogsography-discogs-tableinator-artists",
        "messaging.batch.message_count": 5,
        "db.system.name": "postgresql",
        "spindle.kind": "artists",
        "spindle.batch.trigger": "size",
        "spindle.batch.size_bytes": 50,
        "spindle.batch.transactions": 0,
        "spindle.batch.quarantined": 1,
        "spindle.batch.released": 0,
        "spindle.links.left_out": 0,
        "spindle.links.unread_messages": 0,
        "spindle.outcome.new": 2,
        "spindle.outcome.changed": 1,
        "spindle.outcome.unchanged": 0,
        "spindle.outcome.stale": 0,
        "spindle.outcome.superseded": 1,
        "error.type": "quarantined",
    }
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert 0 <= time.time_ns() - span.start_time_unix_nano < 60e9
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (trace.began, trace.ended)


async def test_its_transactions_are_below_it(collector: Collector) -> None:
    export = OtlpExport(consumer_settings())
    trace = trace_of(2, export.send)
    trace.transaction_begins(2)
    trace.transaction_ended(Result.REFUSED, code="22P05")
    trace.transaction_begins(1)
    trace.transaction_ended(Result.STORED, code="")
    trace.stored(Outcomes(new=2), superseded=0)
    trace.end(quarantined=0)

    await export.close(2.0)

    [batch] = [span for span in collector.spans() if not span.parent_span_id]
    refused, stored = children(collector.spans(), batch)
    assert {span.name for span in (refused, stored)} == {"write artists"}
    assert values(refused.attributes) == {
        "db.system.name": "postgresql",
        "db.operation.name": "write",
        "db.operation.batch.size": 2,
        "db.response.status_code": "22P05",
        "error.type": "22P05",
        "spindle.kind": "artists",
        "spindle.transaction.result": "refused",
    }
    assert values(stored.attributes) == {
        "db.system.name": "postgresql",
        "db.operation.name": "write",
        "spindle.kind": "artists",
        "spindle.transaction.result": "stored",
    }
    assert (refused.status.code, stored.status.code) == (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET)
    assert batch.status.code == Status.STATUS_CODE_UNSET
    assert [(span.start_time_unix_nano, span.end_time_unix_nano) for span in (refused, stored)] == [
        (each.began, each.ended) for each in trace.transactions
    ]


async def test_a_batch_of_which_some_come_again_has_failed(collector: Collector) -> None:
    export = OtlpExport(consumer_settings())
    trace = trace_of(3, export.send)
    trace.stored(Outcomes(new=1), superseded=0)
    trace.end(quarantined=0)

    await export.close(2.0)

    [span] = collector.spans()
    found = values(span.attributes)
    assert (found["spindle.batch.released"], found["error.type"]) == (2, "released")
    assert span.status.code == Status.STATUS_CODE_ERROR


async def test_a_transaction_without_a_code_has_its_result_as_the_error(collector: Collector) -> None:
    export = OtlpExport(consumer_settings())
    trace = trace_of(1, export.send)
    trace.transaction_ended(Result.UNAVAILABLE, code="")
    trace.end(quarantined=0)

    await export.close(2.0)

    [batch] = [span for span in collector.spans() if not span.parent_span_id]
    [child] = children(collector.spans(), batch)
    found = values(child.attributes)
    assert found["error.type"] == "unavailable" and "db.response.status_code" not in found


async def test_a_batch_is_in_no_other_span(collector: Collector) -> None:
    """Whatever else makes spans in this process; a batch has many producers."""
    export = OtlpExport(consumer_settings())
    with export._tracer.start_as_current_span("around it"):
        trace_of(1, export.send).end(quarantined=0)

    await export.close(2.0)

    [batch, _] = collector.spans()
    assert (batch.kind, batch.parent_span_id) == (Span.SPAN_KIND_CONSUMER, b"")


async def test_it_is_linked_with_32_sampled_contexts_and_says_how_many_were_left_out(collector: Collector) -> None:
    export = OtlpExport(consumer_settings())

    def header(number: int) -> object:
        return traceparent(number, "00") if number <= 10 else None if number <= 20 else traceparent(number)

    trace_of(100, export.send, headers=header).end(quarantined=0)

    await export.close(2.0)

    [span] = collector.spans()
    assert links(span) == [(f"{n:032x}", f"{n:016x}") for n in range(21, 21 + MOST_LINKS)]
    assert values(span.attributes)["spindle.links.left_out"] == 80 - MOST_LINKS


async def test_of_a_very_large_batch_not_every_message_is_read(collector: Collector) -> None:
    """While headers are read nothing else has a turn."""
    export = OtlpExport(consumer_settings())
    trace_of(MOST_READ + 7, export.send, headers=traceparent).end(quarantined=0)

    await export.close(2.0)

    [span] = collector.spans()
    found = values(span.attributes)
    assert (found["spindle.links.left_out"], found["spindle.links.unread_messages"]) == (MOST_READ - MOST_LINKS, 7)


async def test_of_messages_with_many_headers_fewer_are_read(collector: Collector) -> None:
    """A message of a thousand headers takes as long as hundreds of others."""
    export = OtlpExport(consumer_settings())
    trace_of(100, export.send, headers=traceparent, header_bytes=MOST_READ_BYTES // 50).end(quarantined=0)

    await export.close(2.0)

    [span] = collector.spans()
    found = values(span.attributes)
    assert (found["spindle.links.left_out"], found["spindle.links.unread_messages"]) == (50 - MOST_LINKS, 50)


async def test_the_service_has_its_name_unless_the_environment_gives_it_another(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for environ, name in (({}, "tableinator"), ({"OTEL_SERVICE_NAME": "mine"}, "mine")):
        configure(monkeypatch, **environ)
        collector.bodies.clear()
        export = OtlpExport(consumer_settings())
        trace_of(1, export.send).end(quarantined=0)

        await export.close(2.0)

        assert collector.resource()["service.name"] == name
        assert collector.resource()["telemetry.sdk.name"] == "opentelemetry"
        assert collector.resource()["service.version"] == VERSION
        assert collector.resource()["service.instance.id"] == platform.node()


@pytest.mark.parametrize(("program", "database"), [(TableinatorSettings, "postgresql"), (GraphinatorSettings, "neo4j")])
async def test_a_store_has_the_name_that_the_conventions_give_it(
    collector: Collector, program: type[ConsumerProgramSettings], database: str
) -> None:
    export = OtlpExport(load(program, {}).consumer)
    trace = trace_of(1, export.send)
    trace.transaction_ended(Result.STORED, code="")
    trace.end(quarantined=0)

    await export.close(2.0)

    assert [values(span.attributes)["db.system.name"] for span in collector.spans()] == [database] * 2


async def test_spans_are_counted_from_zero(collector: Collector) -> None:
    settings = consumer_settings(service=f"one-{time.monotonic_ns()}")

    await OtlpExport(settings).close(2.0)

    for result in SpanResult:
        labels = {"service": settings.service, "result": result.value}
        assert REGISTRY.get_sample_value("spindle_trace_spans_total", labels) == 0


async def test_the_sdks_own_sampler_has_a_word_too(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, OTEL_TRACES_SAMPLER="always_off")
    export = OtlpExport(consumer_settings())
    with capture_logs() as lines:
        trace_of(1, export.send).end(quarantined=0)

        await export.close(2.0)

    assert (collector.spans(), lines) == ([], [])


def refusing(spans: int) -> bytes:
    refused = ExportTracePartialSuccess(rejected_spans=spans, error_message=TOKEN)
    return bytes(ExportTraceServiceResponse(partial_success=refused).SerializeToString())


@pytest.mark.parametrize(
    ("answer", "dropped", "reason"),
    [
        ({"status": 308}, 2, "HTTP 308"),
        ({"content_type": "text/html; charset=utf-8", "answer": b"<html>log in"}, 2, "a web page answers"),
        ({"answer": refusing(1)}, 1, "it says that it refuses some"),
        ({"answer": refusing(9999)}, 2, "it says that it refuses some"),
        ({"answer": b"OK"}, 0, ""),
    ],
    ids=["redirected", "web page", "partial success", "all refused", "no protobuf"],
)
async def test_what_the_collector_does_not_say_to_have_taken_is_dropped_and_said(
    collector: Collector, answer: dict[str, Any], dropped: int, reason: str
) -> None:
    """To the SDK all of these are a success."""
    export, before = OtlpExport(consumer_settings()), (spans_counted("exported"), spans_counted("dropped"))
    for name, value in answer.items():
        setattr(collector, name, value)
    trace = trace_of(1, export.send)
    trace.transaction_ended(Result.STORED, code="")

    with capture_logs() as lines:
        trace.end(quarantined=0)
        await export.close(2.0)

    assert (spans_counted("exported") - before[0], spans_counted("dropped") - before[1]) == (2 - dropped, dropped)
    assert [line["reason"] for line in of_spans(lines)] == [reason] * bool(reason)
    assert TOKEN not in str(lines)


class OneKind(Sampler):
    """Keeps spans of one kind and no others, as somebody's own sampler may."""

    def __init__(self, kind: SpanKind) -> None:
        self._kind = kind

    def should_sample(
        self, parent_context: Context | None, trace_id: int, name: str, kind: SpanKind | None = None, *_: Any, **__: Any
    ) -> SamplingResult:
        return SamplingResult(Decision.RECORD_AND_SAMPLE if kind is self._kind else Decision.DROP)

    def get_description(self) -> str:
        return "one kind"


@pytest.mark.parametrize(("kind", "count"), [(SpanKind.CONSUMER, 1), (SpanKind.CLIENT, 2)])
async def test_a_sampler_may_keep_batches_or_transactions(collector: Collector, kind: SpanKind, count: int) -> None:
    export, before = OtlpExport(consumer_settings()), (spans_counted("exported"), spans_counted("dropped"))
    export._tracer.sampler = OneKind(kind)  # type: ignore[attr-defined]  # of the SDK's tracer, not the interface's
    with capture_logs() as lines:
        trace = trace_of(1, export.send)
        trace.transaction_ended(Result.REFUSED, code="")
        trace.transaction_ended(Result.STORED, code="")
        trace.end(quarantined=0)
        await until(lambda: bool(collector.bodies))
        await until(lambda: export._exporter.seen == count)
        waiting = export._given - export._exporter.seen

        await export.close(2.0)

    assert (waiting, len(collector.spans()), lines) == (0, count, [])
    assert (spans_counted("exported") - before[0], spans_counted("dropped") - before[1]) == (count, 0)


# What does not get through


async def test_what_a_collector_refuses_is_dropped_counted_and_said_once(collector: Collector) -> None:
    collector.status = 401
    export, before = OtlpExport(consumer_settings()), spans_counted("dropped")
    with capture_logs() as lines:
        for _ in range(3):
            trace_of(1, export.send).end(quarantined=0)
            await until(lambda: export._exporter.seen == export._given)

        assert spans_counted("dropped") - before == 3
        collector.status = 200
        for _ in range(2):
            trace_of(1, export.send).end(quarantined=0)
            await until(lambda: export._exporter.seen == export._given)
    await export.close(2.0)
    assert len(collector.spans()) == 2

    assert [(line["event"], line.get("reason"), line.get("dropped")) for line in of_spans(lines)] == [
        ("Spans dropped: the collector does not take them", "HTTP 401", None),
        ("Spans are exported again", None, 3),
    ]


@pytest.mark.parametrize("status", [0, 503], ids=["breaks the connection", "asks for patience"])
async def test_a_collector_that_fails_once_at_the_end_has_its_spans_all_the_same(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """The SDK sends them again: at once, or after a second."""
    configure(monkeypatch, OTEL_BSP_SCHEDULE_DELAY="60000")
    collector.first = [status]
    export, before = OtlpExport(consumer_settings()), (spans_counted("exported"), spans_counted("dropped"))
    trace_of(1, export.send).end(quarantined=0)
    with capture_logs() as lines:
        await export.close(30.0)

    assert len(collector.spans()) == 1
    assert (spans_counted("exported") - before[0], spans_counted("dropped") - before[1]) == (1, 0)
    assert of_spans(lines) == []


async def test_a_connection_is_used_again_and_one_that_was_closed_meanwhile_is_made_again(collector: Collector) -> None:
    export, before = OtlpExport(consumer_settings()), spans_counted("dropped")
    for _ in range(2):
        trace_of(1, export.send).end(quarantined=0)
        await until(lambda: export._exporter.seen == export._given)
    assert collector.connections == 1
    collector.first = [0]
    trace_of(1, export.send).end(quarantined=0)
    await until(lambda: export._exporter.seen == 3)
    await export.close(2.0)

    assert (len(collector.spans()), collector.connections) == (3, 2)
    assert spans_counted("dropped") == before


async def test_a_collector_that_has_answered_has_the_last_spans_too_however_long_ago_that_was(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "PATIENCE", 0.0)
    export = OtlpExport(consumer_settings())
    trace_of(1, export.send).end(quarantined=0)
    await until(lambda: export._exporter.seen == 1)
    trace_of(1, export.send).end(quarantined=0)
    with capture_logs() as lines:
        await export.close(10.0)

    assert (len(collector.spans()), lines) == (2, [])


async def test_what_was_given_up_at_the_end_is_counted_once_if_it_is_taken_after_all(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, OTEL_BSP_SCHEDULE_DELAY="60000")
    collector.may_answer.clear()
    export, before = OtlpExport(consumer_settings()), (spans_counted("exported"), spans_counted("dropped"))
    trace_of(1, export.send).end(quarantined=0)

    await export.close(0.3)
    collector.may_answer.set()
    await until(lambda: not [each for each in threading.enumerate() if each.name == "last spans"])

    assert len(collector.spans()) == 1
    assert (spans_counted("exported") - before[0], spans_counted("dropped") - before[1]) == (0, 1)


async def test_what_is_too_large_for_a_request_is_said_to_be(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = OtlpExport(consumer_settings())
    monkeypatch.setattr(export._exporter._otlp, "_max_request_size", 1)
    with capture_logs() as lines:
        trace_of(1, export.send).end(quarantined=0)
        await export.close(30.0)

    assert [line["reason"] for line in of_spans(lines)] == ["they can't be encoded, or are too large for one request"]


async def test_so_many_wait_and_what_comes_then_is_dropped(collector: Collector) -> None:
    collector.may_answer.clear()
    export, before = OtlpExport(consumer_settings()), spans_counted("dropped")

    with capture_logs() as lines:
        for _ in range(MOST_WAITING + 100):
            trace_of(1, export.send).end(quarantined=0)

    assert spans_counted("dropped") - before == 99
    assert [line["event"] for line in of_spans(lines)] == ["Spans dropped: too many wait for the collector"]
    collector.may_answer.set()
    await until(lambda: export._exporter.seen == export._given)
    await export.close(2.0)
    assert len(collector.spans()) == MOST_WAITING + 1


async def test_another_time_that_too_many_wait_is_said_too(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    export, said = OtlpExport(consumer_settings()), []
    monkeypatch.setattr(otlp, "MOST_WAITING", 10)
    for _ in range(2):
        collector.may_answer.clear()
        with capture_logs() as lines:
            for _ in range(20):
                trace_of(1, export.send).end(quarantined=0)
        said.append(len(lines))
        collector.may_answer.set()
        await until(lambda: export._exporter.seen == export._given)
    await export.close(2.0)

    assert said == [1, 1]


async def test_that_too_many_wait_is_not_said_again_before_half_of_them_have_gone(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.may_answer.clear()
    export, said = OtlpExport(consumer_settings()), []
    monkeypatch.setattr(otlp, "MOST_WAITING", 10)
    for gone in (0, 4, 6):
        export._exporter.seen += gone
        with capture_logs() as lines:
            for _ in range(20):
                trace_of(1, export.send).end(quarantined=0)
        said.append(len(lines))

    collector.may_answer.set()
    await export.close(2.0)

    assert said == [1, 0, 1]


async def test_the_last_batch_that_has_room_has_it_for_all_of_its_transactions(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = MOST_WAITING + 1 + MOST_TRANSACTIONS
    configure(monkeypatch, OTEL_BSP_SCHEDULE_DELAY="60000", OTEL_BSP_MAX_EXPORT_BATCH_SIZE=str(most))
    export, before = OtlpExport(consumer_settings()), spans_counted("dropped")
    for _ in range(MOST_WAITING):
        trace_of(1, export.send).end(quarantined=0)
    trace = trace_of(1, export.send)
    for _ in range(MOST_TRANSACTIONS):
        trace.transaction_ended(Result.STORED, code="")
    trace.end(quarantined=0)

    await until(lambda: export._exporter.seen == most)
    await export.close(2.0)

    assert len(collector.spans()) == most
    assert spans_counted("dropped") == before


async def test_of_a_batch_of_which_a_span_cannot_be_made_each_is_counted_once(collector: Collector) -> None:
    export, before = OtlpExport(consumer_settings()), (spans_counted("exported"), spans_counted("dropped"))
    trace = trace_of(1, export.send)
    for _ in range(2):
        trace.transaction_ended(Result.STORED, code="")
    trace.transactions[1] = trace.transactions[1]._replace(code=None, result=None)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        trace.end(quarantined=0)
    await export.close(2.0)

    assert (spans_counted("exported") - before[0], spans_counted("dropped") - before[1]) == (1, 2)


async def test_spans_that_cannot_be_made_are_counted(collector: Collector) -> None:
    export, before = OtlpExport(consumer_settings()), (spans_counted("exported"), spans_counted("dropped"))

    def unreadable() -> Properties:
        raise ValueError("of a header")

    trace = trace_of(1, export.send)
    trace.batch.items[0].delivery.read_properties = unreadable
    trace.transaction_ended(Result.STORED, code="")
    with pytest.raises(ValueError, match="of a header"):
        trace.end(quarantined=0)
    await export.close(2.0)

    assert (spans_counted("exported") - before[0], spans_counted("dropped") - before[1]) == (0, 2)


async def test_a_collector_that_refuses_connections_delays_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as endpoint:
        configure(monkeypatch, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="60")
        export = OtlpExport(consumer_settings())
        trace_of(1, export.send).end(quarantined=0)
        with capture_logs() as lines:
            async with asyncio.timeout(20.0):  # the SDK alone tries for 31 s
                await export.close(60.0)

    assert [line["count"] for line in lines if "before the end" in line["event"]] == [1]


async def test_a_collector_that_says_nothing_delays_the_end_by_no_more_than_it_is_given(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.may_answer.clear()
    configure(monkeypatch, OTEL_BSP_SCHEDULE_DELAY="60000", OTEL_EXPORTER_OTLP_TIMEOUT="60")
    export = OtlpExport(consumer_settings())
    trace_of(1, export.send).end(quarantined=0)
    with capture_logs() as lines:
        async with asyncio.timeout(20.0):  # the collector says something after 60 s
            await export.close(0.3)

    assert all(each.daemon for each in threading.enumerate() if each.name == "last spans"), "the process can end"
    assert [line["count"] for line in lines if "before the end" in line["event"]] == [1]


async def test_nobody_waits_for_a_collector_that_is_known_to_be_slow(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "PATIENCE", 0.05)
    configure(monkeypatch, OTEL_EXPORTER_OTLP_TIMEOUT="60")
    collector.may_answer.clear()
    export = OtlpExport(consumer_settings())
    trace_of(1, export.send).end(quarantined=0)
    await until(collector.has_asked.is_set)
    await until(lambda: export._exporter.is_dead)
    async with asyncio.timeout(20.0):  # the SDK alone waits for 60 s
        await export.close(60.0)


# Secrets


async def test_no_text_of_a_header_or_an_address_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with closed_port() as endpoint:
        address = endpoint.replace("//", f"//me:{TOKEN}@") + f"/?key={TOKEN}"
        configure(
            monkeypatch,
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=address,
            OTEL_EXPORTER_OTLP_HEADERS=f"authorization {TOKEN},x-key={TOKEN}",
            OTEL_EXPORTER_OTLP_TIMEOUT="2",  # the SDK tries again after about 1 s, and would then after 2 s more
            OTEL_BSP_SCHEDULE_DELAY="50",
        )
        with caplog.at_level(logging.DEBUG), capture_logs() as lines:
            export = open_export(consumer_settings())
            trace_of(1, export.send).end(quarantined=0)
            await until(lambda: export._exporter.seen == 1)
            await export.close(2.0)

    assert TOKEN not in caplog.text
    assert "Header format invalid" in caplog.text
    assert TOKEN not in str(lines)
    assert lines[0]["reason"] == "ConnectionError"


async def test_no_text_of_an_answer_is_logged(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    collector.status, collector.reason = 401, TOKEN
    with capture_logs() as lines:
        export = open_export(consumer_settings())
        trace_of(1, export.send).end(quarantined=0)
        await until(lambda: export._exporter.seen == 1)
        await export.close(2.0)

    assert TOKEN not in caplog.text + str(lines)
    assert [line["reason"] for line in of_spans(lines)] == ["HTTP 401"]


async def test_what_the_sdk_raises_is_counted_and_said_by_its_class(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise LookupError(TOKEN)

    export, before = open_export(consumer_settings()), spans_counted("dropped")
    monkeypatch.setattr(export._exporter._otlp, "export", fail)
    with capture_logs() as lines:
        trace_of(1, export.send).end(quarantined=0)
        await until(lambda: export._exporter.seen == 1)
        await export.close(2.0)

    assert TOKEN not in caplog.text + str(lines)
    assert [line["reason"] for line in of_spans(lines)] == ["LookupError"]
    assert spans_counted("dropped") - before == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "Invalid timeout value (not shown)"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "Unsupported compression type: (not shown)"),
    ],
)
async def test_a_variable_that_the_sdk_passes_over_is_named_without_its_value(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, said: str
) -> None:
    configure(monkeypatch, **{name: TOKEN})

    export = open_export(consumer_settings())
    await export.close(2.0)

    assert [record.getMessage() for record in caplog.records] == [said]


async def test_headers_are_sent(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, OTEL_EXPORTER_OTLP_HEADERS=f"x-key={TOKEN}")
    export = OtlpExport(consumer_settings())
    trace_of(1, export.send).end(quarantined=0)

    await export.close(2.0)

    assert collector.headers[0]["x-key"] == TOKEN


def test_what_the_sdk_cannot_use_is_refused_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="100000")

    with pytest.raises(StartRefused) as refused:
        open_export(consumer_settings())

    assert str(refused.value) == (
        "TRACING is 'otlp' and OpenTelemetry's SDK can't be used as it is configured (ValueError); "
        "look at the variables OTEL_…, or set TRACING=off."
    )


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(15.0):
        while not fact():
            await asyncio.sleep(0.01)
