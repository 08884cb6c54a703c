"""A collector of OpenTelemetry on the loopback address, which keeps what it is sent by OTLP over HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """What has come so far."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        """What it answers."""
        self.reason: str | None = None
        """What it says of that, if not the usual."""
        self.answer, self.content_type = b"", "application/x-protobuf"
        self.first: list[int] = []
        """What it answers to the first requests instead; 0: it hangs up on one."""
        self.may_answer = threading.Event()
        """Until then it takes requests and says nothing."""
        self.may_answer.set()
        self.has_asked = threading.Event()
        """Set as soon as somebody has sent something."""
        self.connections = 0
        """How many were made."""
        self.endpoint = ""

    @property
    def environment(self) -> dict[str, str]:
        """What leads a service here, soon."""
        return {
            "TRACING": "otlp",
            "TRACING_RATIO": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def spans(self) -> list[Span]:
        """All that it has taken, in their order."""
        return [
            span for each in self.requests() for one in each.resource_spans for s in one.scope_spans for span in s.spans
        ]

    def requests(self) -> list[ExportTraceServiceRequest]:
        """What it was sent."""
        return [ExportTraceServiceRequest.FromString(body) for body in list(self.bodies)]

    def resource(self) -> dict[str, Any]:
        """What the first request says of its sender."""
        return values(self.requests()[0].resource_spans[0].resource.attributes)


def values(attributes: Any) -> dict[str, Any]:
    """Attributes as Python's values."""
    return {each.key: _value(each) for each in attributes}


def _value(attribute: KeyValue) -> Any:
    return getattr(attribute.value, attribute.value.WhichOneof("value") or "string_value")


def children(spans: list[Span], parent: Span) -> list[Span]:
    """The spans below one."""
    return [span for span in spans if span.parent_span_id == parent.span_id and span.trace_id == parent.trace_id]


def links(span: Span) -> list[tuple[str, str]]:
    """Trace and span that it is linked with, in hexadecimal."""
    return [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Have one for as long as the block lasts."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        timeout = 30.0
        protocol_version = "HTTP/1.1"  # connections are kept, as with real ones

        def setup(self) -> None:
            collector.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.has_asked.set()
            collector.may_answer.wait(60.0)
            status = collector.first.pop(0) if collector.first else collector.status
            if not status:
                self.close_connection = True
                return
            if status == 200 and self.path == "/v1/traces":
                collector.bodies.append(body)
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(status, collector.reason)
            self.send_header("Content-Type", collector.content_type)
            self.send_header("Content-Length", str(len(collector.answer)))
            self.end_headers()
            self.wfile.write(collector.answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        collector.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            collector.may_answer.set()
            server.shutdown()
            thread.join(10.0)
