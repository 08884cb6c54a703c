"""Batches as spans of OpenTelemetry, sent by OTLP over HTTP. Nothing else imports it, and this only if tracing is on.

A span of a batch, with a child for each of its transactions, and a link to the span that each of its messages was sent
in. What they are called is OpenTelemetry's semantic conventions (messaging, RabbitMQ, databases); `spindle.…` is ours.

Where to, how often and how large: the SDK reads its own variables (OTEL_…). Spans wait in a queue, which a thread of
the SDK empties; what the queue has no room for and what the collector does not take is dropped and counted.
"""

import asyncio
import logging
import platform
import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate, islice, takewhile
from typing import Any

import requests
import structlog
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, set_span_in_context

from common import VERSION
from common.batching.batch import deliveries
from common.delivery import Delivery
from common.outcomes import Outcome
from common.settings.programs import ConsumerSettings
from common.sink import Result
from common.telemetry.metrics import SpanResult, count_spans
from common.telemetry.trace_context import TraceContext, contexts_of
from common.telemetry.tracing import MOST_TRANSACTIONS, BatchTrace, TracedTransaction, unusable

log = structlog.get_logger()

MOST_LINKS = 32
"""Of one span. A batch of many thousands would be one that nobody can look at."""

MOST_READ = 1000
"""Messages of a batch whose headers are read for their links: that takes 11 ms, in which nothing else has a turn."""

MOST_READ_BYTES = 256 * 1024
"""Of those headers together: a message may have a thousand small ones, and then this takes up to 40 ms."""

MOST_WAITING = 2048
"""Spans that may wait to be sent: as many as the SDK keeps by default."""

PATIENCE = 1.0
"""After so many seconds without an answer a collector counts as gone; a stop does not wait for it."""


def open_export(settings: ConsumerSettings) -> "OtlpExport":
    """Begin to export as the SDK's variables say.

    Raises: StartRefused if they can't be used.
    """
    _keep_secrets()
    try:
        return OtlpExport(settings)
    except (ValueError, TypeError, RuntimeError) as error:
        raise unusable(error) from None


class OtlpExport:
    """A `SpanExport`. Made and used on the event loop; what it sends, a thread of the SDK's sends."""

    def __init__(self, settings: ConsumerSettings) -> None:
        self._service, self._names = settings.service, settings.names
        self._database = settings.store_name.lower()  # by chance the conventions' own names: postgresql, neo4j
        self._exporter = _CountingExporter(settings.service)
        self._provider = TracerProvider(resource=_resource(settings.service), shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(self._exporter, max_queue_size=MOST_WAITING + MOST_TRANSACTIONS + 1)
        )
        self._tracer = self._provider.get_tracer("spindle", VERSION)
        self._given, self._is_full = 0, False
        for result in SpanResult:
            count_spans(settings.service, result, 0)

    def send(self, trace: BatchTrace) -> None:
        """Make spans of a batch; drop them if too many wait."""
        count, given = 1 + len(trace.transactions), self._given
        if not self._has_room():
            count_spans(self._service, SpanResult.DROPPED, count)
            return
        try:
            self._make(trace)
        except Exception:
            count_spans(self._service, SpanResult.DROPPED, count - (self._given - given))
            raise

    def _has_room(self) -> bool:
        """Whether not too many wait; says it once if they do, and again only after half of them have gone."""
        waiting = self._given - self._exporter.seen
        if waiting > MOST_WAITING:
            if not self._is_full:
                log.warning("Spans dropped: too many wait for the collector", waiting=waiting)
            self._is_full = True
            return False
        if waiting <= MOST_WAITING // 2:
            self._is_full = False
        return True

    def _make(self, trace: BatchTrace) -> None:
        messages = _few_enough(deliveries(trace.batch.all[:MOST_READ]))
        contexts = contexts_of(messages)
        batch = self._tracer.start_span(
            f"process {self._names.queue(self._service, trace.kind)}",
            context=Context(),  # a trace of its own: a batch has many producers
            kind=SpanKind.CONSUMER,
            attributes=self._attributes(trace, contexts, unread=trace.batch.size - len(messages)),
            links=[_link(context) for context in islice(contexts, MOST_LINKS)],
            start_time=trace.began,
        )
        if trace.quarantined or trace.released:
            batch.set_status(Status(StatusCode.ERROR))
        for transaction in trace.transactions:
            self._child(batch, trace.kind, transaction)
        self._end(batch, trace.ended)

    def _end(self, span: Span, at: int) -> None:
        span.end(at)
        # The sampler that OTEL_TRACES_SAMPLER names decides of each, and those that it leaves out are not sent.
        self._given += span.get_span_context().trace_flags.sampled

    def _attributes(self, trace: BatchTrace, contexts: Sequence[TraceContext], *, unread: int) -> dict[str, Any]:
        exchange, queue = self._names.exchange(trace.kind), self._names.queue(self._service, trace.kind)
        attributes = {
            "messaging.system": "rabbitmq",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            # Of a fanout exchange the routing key says nothing, and a batch may have several.
            "messaging.destination.name": f"{exchange}:{queue}",
            "messaging.batch.message_count": trace.batch.size,
            "db.system.name": self._database,
            "spindle.kind": trace.kind,
            "spindle.batch.trigger": trace.batch.trigger.value,
            "spindle.batch.size_bytes": sum(len(delivery.body) for delivery in deliveries(trace.batch.all)),
            "spindle.batch.transactions": trace.transaction_count,
            "spindle.batch.quarantined": trace.quarantined,
            "spindle.batch.released": trace.released,
            "spindle.links.left_out": max(0, len(contexts) - MOST_LINKS),
            "spindle.links.unread_messages": unread,
        }
        for outcome in (Outcome.NEW, Outcome.CHANGED, Outcome.UNCHANGED, Outcome.STALE):
            attributes[f"spindle.outcome.{outcome.value}"] = getattr(trace.outcomes, outcome.value)
        attributes["spindle.outcome.superseded"] = trace.superseded
        if trace.quarantined or trace.released:
            attributes["error.type"] = "quarantined" if trace.quarantined else "released"
        return attributes

    def _child(self, batch: Span, kind: str, transaction: TracedTransaction) -> None:
        attributes: dict[str, Any] = {
            "db.system.name": self._database,
            "db.operation.name": "write",
            "spindle.kind": kind,
            "spindle.transaction.result": transaction.result.value,
        }
        if transaction.records > 1:  # the conventions have it for two and more
            attributes["db.operation.batch.size"] = transaction.records
        if transaction.code:
            attributes["db.response.status_code"] = transaction.code
        has_failed = transaction.result is not Result.STORED
        if has_failed:
            attributes["error.type"] = transaction.code or transaction.result.value
        span = self._tracer.start_span(
            f"write {kind}",
            context=set_span_in_context(batch, Context()),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=transaction.began,
        )
        if has_failed:
            span.set_status(Status(StatusCode.ERROR))
        self._end(span, transaction.ended)

    async def close(self, limit: float) -> None:
        """Send what waits. A thread does, which nobody waits for once the time is over or the collector has failed."""
        loop, is_over = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # nobody waits any more, and the loop is closed
                loop.call_soon_threadsafe(is_over.set)

        def shut_down() -> None:
            self._provider.shutdown()
            tell()

        self._exporter.on_failure = tell
        if limit and not self._exporter.is_dead:
            threading.Thread(target=shut_down, name="last spans", daemon=True).start()
            with suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    await is_over.wait()
        if (left := self._given - self._exporter.leave()) > 0:
            count_spans(self._service, SpanResult.DROPPED, left)
            log.warning("Spans dropped: the collector did not take them before the end", count=left)


class _CountingExporter(SpanExporter):
    """The way to the collector. It says once when spans are dropped, and once when they are taken again."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._session = _Session(on_gone=self._failed)
        self._otlp = OTLPSpanExporter(session=self._session)
        self._dropped, self._fails = 0, False
        self._counting, self._is_over = threading.Lock(), False
        self.seen = 0
        """Spans that have left the queue, and are sent or dropped."""
        self.on_failure: Callable[[], None] = _nobody_waits

    @property
    def is_dead(self) -> bool:
        """Whether it did not take the last spans, or does not answer for those that are being sent."""
        return self._fails or self._session.is_gone

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """The SDK's call, in its thread."""
        self._session.begin()
        try:
            result = self._otlp.export(spans)
        except Exception as error:  # noqa: BLE001 - what is raised here would be logged with its text
            self._session.failure = type(error).__name__
            result = SpanExportResult.FAILURE
        is_taken = result is SpanExportResult.SUCCESS and not self._session.failure  # to the SDK a redirect is success
        self._count(len(spans), refused=min(len(spans), self._session.refused) if is_taken else len(spans))
        if not is_taken:
            self._failed()
        return result

    def shutdown(self) -> None:
        """The SDK's call."""
        self._otlp.shutdown()  # type: ignore[no-untyped-call]  # the SDK gives it no type

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """The SDK's call; nothing waits in here."""
        return True

    def leave(self) -> int:
        """Count no more: whoever calls this counts what is left. Returns: what was seen until now."""
        with self._counting:
            self._is_over = True
            return self.seen

    def _count(self, count: int, *, refused: int) -> None:
        with self._counting:
            if self._is_over:
                return
            count_spans(self._service, SpanResult.EXPORTED, count - refused)
            count_spans(self._service, SpanResult.DROPPED, refused)
            self._fails = refused == count
            if not refused and self._dropped:
                log.info("Spans are exported again", dropped=self._dropped)
                self._dropped = 0
            elif refused:
                if not self._dropped:
                    reason = self._session.failure or (
                        "it says that it refuses some"
                        if self._session.refused
                        else "they can't be encoded, or are too large for one request"
                    )
                    log.warning("Spans dropped: the collector does not take them", reason=reason)
                self._dropped += refused
            self.seen += count  # last: whoever sees it finds it counted and said

    def _failed(self) -> None:
        self.on_failure()


class _Session(requests.Session):
    """Knows what the last request came to, in words that hold no secret: a status, or the class of an error.

    One that failed says little, for the SDK repeats it: at once if the connection broke, which a pooled one may just
    have done, and later if the collector asks for it (HTTP 429, 503 …). Nobody is there if two in a row find nobody.
    """

    def __init__(self, *, on_gone: Callable[[], None]) -> None:
        super().__init__()
        self._on_gone = on_gone
        self._unanswered = 0
        self._began: float | None = None
        self.failure = ""
        self.refused = 0
        """Spans that a collector which took the others has said to have refused."""

    @property
    def is_gone(self) -> bool:
        """Whether nobody answered the last requests, or the one that is under way for too long."""
        began = self._began
        return self._unanswered > 1 or (began is not None and time.monotonic() - began > PATIENCE)

    def begin(self) -> None:
        """Other spans are sent."""
        self._unanswered, self.failure, self.refused = 0, "", 0

    def request(self, *args: Any, **more: Any) -> requests.Response:
        """Send one."""
        self._began = time.monotonic()
        try:
            response = super().request(*args, **more)
        except Exception as error:
            self.failure = type(error).__name__
            self._unanswered += 1
            if self.is_gone:
                self._on_gone()
            raise
        finally:
            self._began = None
        self._unanswered = 0
        self.failure, self.refused = _what_became(response)
        return response


def _what_became(response: requests.Response) -> tuple[str, int]:
    """Why nothing was taken, in words that hold no secret, and how many spans were refused of what was."""
    if response.status_code // 100 != 2:
        return f"HTTP {response.status_code}", 0
    if response.headers.get("Content-Type", "").startswith("text/html"):
        return "a web page answers", 0
    try:
        said = ExportTraceServiceResponse.FromString(response.content)
    except DecodeError:
        return "", 0  # no answer of the protocol's, but one that says that all is well
    return "", said.partial_success.rejected_spans


def _keep_secrets() -> None:
    """Have the SDK log no value of a variable, which may hold a token, nor any text of addresses and answers."""
    for name in ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal"):  # what they fail in is said here
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # What these complain of is a variable.
    for name in ("opentelemetry.exporter.otlp.proto.http._common", "opentelemetry.util.re"):
        logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger(name).addFilter(_hide_values)


def _hide_values(record: logging.LogRecord) -> bool:
    record.msg, record.args = re.sub(r"%[a-z].*", "(not shown)", str(record.msg), flags=re.DOTALL), ()
    return True


def _resource(service: str) -> Resource:
    """What sends: under the service's name, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES says otherwise."""
    ours = {"service.name": service, "service.version": VERSION, "service.instance.id": platform.node()}
    return Resource.create(ours).merge(OTELResourceDetector().detect())


def _few_enough(messages: Sequence[Delivery]) -> Sequence[Delivery]:
    """The first ones, as many as have headers of so many bytes."""
    weights = accumulate(message.header_bytes for message in messages)
    return messages[: sum(1 for _ in takewhile(MOST_READ_BYTES.__ge__, weights))]


def _link(context: TraceContext) -> Link:
    return Link(SpanContext(context.trace_id, context.span_id, is_remote=True, trace_flags=TraceFlags(1)))


def _nobody_waits() -> None:
    return
