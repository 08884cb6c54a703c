"""`/metrics`, `/health/live` and `/health/ready` on one port.

Served from threads, so that liveness answers, and says no, while the event loop is stuck. An answer is made of plain
attributes read at that moment: a request asks neither the broker nor the store, and waits for nobody.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

import structlog
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest

from common.errors import StartRefused
from common.loads import Pause
from common.network.names import look_up_now
from common.sink import StoreState
from common.telemetry.logs import redact
from common.telemetry.metrics import REGISTRY

log = structlog.get_logger()

STUCK_AFTER = 10.0  # seconds without a beat
_CONNECTION_LIMIT = 32
_CONNECTION_SECONDS = 5.0


class Health:
    """What a service says of itself."""

    def __init__(
        self,
        service: str,
        *,
        broker: Callable[[], Mapping[str, bool]],
        store: Callable[[], StoreState],
        paused: Callable[[], Mapping[str, Pause]] = dict,
        clock: Callable[[], float] = time.monotonic,
        patience: float = _CONNECTION_SECONDS,
    ) -> None:
        """`broker` says per kind whether deliveries can arrive, or need not; `paused`: by whom and why a kind is.
        All are called from other threads. `patience`: seconds that a client has for its request, and a name server
        for its answer."""
        self._service = service
        self._broker = broker
        self._store = store
        self._paused = paused
        self._clock, self._patience = clock, patience
        self._beaten = clock()
        self._draining = False
        self._server: _Server | None = None

    def beat(self) -> None:
        """Show that the event loop turns."""
        self._beaten = self._clock()

    def drain(self) -> None:
        """Be ready no more: the process finishes what it has begun, and takes nothing new."""
        self._draining = True

    def live(self) -> dict[str, Any]:
        """Red only if the loop is stuck: restarting the process helps against nothing else."""
        silent = self._clock() - self._beaten
        stuck = {"detail": f"the event loop has not turned for {silent:.0f} s"} if silent > STUCK_AFTER else {}
        return {"status": _status(not stuck), "service": self._service, **stuck}

    def ready(self) -> dict[str, Any]:
        """Red while broker or store is away, and which; and while draining."""
        kinds, store = self._broker(), self._store()
        missing = [kind for kind, connected in kinds.items() if not connected]
        connected = bool(kinds) and not missing
        broker = {"status": _status(connected), **({"disconnected": missing} if missing else {})}
        said = store.alarm or store.detail
        detail = {"detail": redact(said)} if said else {}
        return {
            "status": "draining" if self._draining else _status(connected and store.available),
            "service": self._service,
            "broker": broker,
            "store": {"name": store.name, "status": _status(store.available), **detail},
            **self._pauses(),
        }

    def _pauses(self) -> dict[str, Any]:
        """Who has paused what, when and why; a pause is no fault."""
        paused = {
            kind: {"since": pause.since.isoformat(), "by": redact(pause.by), "reason": redact(pause.reason)}
            for kind, pause in self._paused().items()
        }
        return {"paused": paused} if paused else {}

    def start(self, host: str, port: int) -> int:
        """Serve on this address; port 0 takes any that is free.

        Returns: the port.
        Raises: StartRefused if it can't be had.
        """
        try:
            # The system's own look-up would hold up everything for as long as a name server is silent.
            address = _address_of(host, port, timeout=self._patience)
            self._server = _Server(address, port, self, patience=self._patience)
        except (OSError, UnicodeError) as error:
            raise StartRefused(
                f"METRICS_HOST {host} with METRICS_PORT {port} can't be listened on "
                f"({getattr(error, 'strerror', None) or error}); choose another port, 0 takes any that is free."
            ) from error
        bound = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True).start()
        log.info("Serving metrics and health", host=host, port=bound)
        return bound

    def stop(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def _address_of(host: str, port: int, *, timeout: float) -> str:
    """The one to listen on: of a name that has both sorts, the older."""
    found = look_up_now(host, port, timeout=timeout)
    return next((each.host for each in found if ":" not in each.host), found[0].host)


def _status(good: bool) -> str:
    return "ok" if good else "unavailable"


def _metrics(accept: str) -> tuple[bytes, str]:
    """Return all metrics in a form that is accepted, and its name."""
    try:
        encode, content_type = choose_encoder(accept)
        return encode(REGISTRY), content_type
    except (TypeError, ValueError):  # the library compares and computes with what the reader calls a version
        return generate_latest(REGISTRY), CONTENT_TYPE_PLAIN_0_0_4


class _Request(BaseHTTPRequestHandler):
    """One request, one answer, then the connection closes."""

    server: "_Server"
    server_version = "spindle"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer what is asked for."""
        match self.path.partition("?")[0]:
            case "/metrics":
                self._answer(HTTPStatus.OK, *_metrics(self.headers.get("Accept", "")))
            case "/health/live":
                self._report(self.server.health.live())
            case "/health/ready":
                self._report(self.server.health.ready())
            case _:
                self._answer(HTTPStatus.NOT_FOUND, b"Try /metrics, /health/live or /health/ready.\n", "text/plain")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Refuse: there is nothing to change here."""
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, b"Only GET and HEAD.\n", "text/plain")

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = do_POST

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        """Log nothing: probes come every few seconds."""

    def _report(self, state: dict[str, Any]) -> None:
        status = HTTPStatus.OK if state["status"] == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
        self._answer(status, json.dumps(state).encode() + b"\n", "application/json")

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    """A thread per connection; few connections, each for a short time, so that silent clients block nobody."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # the default of 5 makes a probe wait seconds behind a burst of strangers

    def __init__(self, host: str, port: int, health: Health, *, patience: float) -> None:
        self.health, self._patience = health, patience
        self._opened: dict[socket.socket, float] = {}
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Request)

    def server_bind(self) -> None:
        """Bind, without the look-up of this machine's name, which may take as long as a broken DNS likes."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection; the oldest makes room for it."""
        for oldest in list(self._opened)[: 1 - _CONNECTION_LIMIT]:
            self._end(oldest)
        self._opened[request] = time.monotonic()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """End what has been open for too long, however slowly it speaks. Called several times a second."""
        for connection, opened in list(self._opened.items()):
            if time.monotonic() - opened > self._patience:
                self._end(connection)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that is done."""
        self._opened.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what is our own fault: the client may have gone."""
        if not isinstance(sys.exception(), OSError):
            log.exception("No answer to a health request")

    def _end(self, connection: socket.socket) -> None:
        self._opened.pop(connection, None)
        with suppress(OSError):  # it may have ended by itself
            connection.shutdown(socket.SHUT_RDWR)  # its thread reads the end and closes it
