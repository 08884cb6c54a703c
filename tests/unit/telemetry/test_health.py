"""Health: what it says, and that it says it while the loop is stuck and strangers are silent."""

import asyncio
import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, ProcessCollector
from structlog.testing import capture_logs

from common.errors import StartRefused
from common.outcomes import Outcomes
from common.sink import StoreState
from common.telemetry.health import STUCK_AFTER, Health
from common.telemetry.loop_lag import Rates, watch_loop
from common.telemetry.metrics import LOOP_LAG, RECORDS_PER_SECOND, REGISTRY, KindMetrics

ROOT = Path(__file__).parents[3]


class Service:
    """What a service would tell its health, and a clock."""

    def __init__(self, *, patience: float = 30.0) -> None:
        self.now = 100.0
        self.connected = {"artists": True, "labels": True}
        self.store = StoreState("PostgreSQL", available=True)
        self.health = Health(
            "tableinator",
            broker=lambda: self.connected,
            store=lambda: self.store,
            clock=lambda: self.now,
            patience=patience,
        )
        self.port = self.health.start("127.0.0.1", 0)

    def ask(self, path: str, method: str = "GET", accept: str = "*/*") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers={"Accept": accept})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask_json(self, path: str) -> tuple[int, Any]:
        status, body = self.ask(path)
        return status, json.loads(body)


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.health.stop()


def test_live_is_green_while_the_loop_turns(service: Service) -> None:
    service.now += 1000
    service.health.beat()
    service.now += STUCK_AFTER

    assert service.ask_json("/health/live") == (200, {"status": "ok", "service": "tableinator"})


def test_live_is_red_once_the_loop_is_stuck(service: Service) -> None:
    service.now += STUCK_AFTER + 2

    status, state = service.ask_json("/health/live")

    assert status == 503
    assert state["detail"] == "the event loop has not turned for 12 s"


def test_ready_is_red_while_draining_and_live_is_not(service: Service) -> None:
    service.health.drain()

    status, state = service.ask_json("/health/ready")

    assert (status, state["status"], state["store"]["status"]) == (503, "draining", "ok")
    assert service.ask("/health/live")[0] == 200


def test_live_is_green_while_broker_and_store_are_away(service: Service) -> None:
    """Fault 44."""
    service.connected["artists"] = False
    service.store = StoreState("PostgreSQL", available=False)

    assert service.ask("/health/live")[0] == 200


def test_ready_is_green_with_broker_and_store(service: Service) -> None:
    assert service.ask_json("/health/ready") == (
        200,
        {
            "status": "ok",
            "service": "tableinator",
            "broker": {"status": "ok"},
            "store": {"name": "PostgreSQL", "status": "ok"},
        },
    )


def test_ready_names_the_store_that_is_away(service: Service) -> None:
    """Fault 67."""
    service.store = StoreState("PostgreSQL", available=False, detail="held for 4 s: connection refused")

    status, state = service.ask_json("/health/ready")

    assert (status, state["status"], state["broker"]["status"]) == (503, "unavailable", "ok")
    assert state["store"] == {
        "name": "PostgreSQL",
        "status": "unavailable",
        "detail": "held for 4 s: connection refused",
    }


def test_the_containers_own_check_says_what_is_answered_and_fails_where_that_is_red(service: Service) -> None:
    green = check(service, "ready")
    service.store = StoreState("PostgreSQL", available=False)
    red = check(service, "ready")
    service.health.stop()
    gone = check(service, "live")

    assert (green.returncode, json.loads(green.stdout)["status"]) == (0, "ok")
    assert (red.returncode, json.loads(red.stdout)["store"]["status"]) == (1, "unavailable")
    assert (gone.returncode, gone.stdout.startswith(f"no answer from 127.0.0.1:{service.port}: ")) == (1, True)


def check(service: Service, what: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-IS", f"{ROOT}/deploy/healthcheck.py", what]
    environ = {"METRICS_PORT": f"{service.port}"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_ready_names_the_kinds_that_are_away(service: Service) -> None:
    """Fault 67."""
    service.connected["labels"] = False

    status, state = service.ask_json("/health/ready")

    assert (status, state["status"], state["store"]["status"]) == (503, "unavailable", "ok")
    assert state["broker"] == {"status": "unavailable", "disconnected": ["labels"]}


def test_ready_is_red_before_there_is_any_source(service: Service) -> None:
    service.connected.clear()

    assert service.ask("/health/ready")[0] == 503


def test_ready_shows_no_login(service: Service) -> None:
    service.store = StoreState("Neo4j", available=False, detail="no route to bolt://neo4j:hush@graph:7687")

    assert b"hush" not in service.ask("/health/ready")[1]


def test_metrics_are_those_of_the_services(service: Service) -> None:
    KindMetrics("tableinator", "artists").settled(Outcomes(new=3), superseded=0)

    status, body = service.ask("/metrics")

    assert status == 200
    assert b'spindle_records_total{kind="artists",outcome="new",service="tableinator"}' in body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/health/live", 200),
        ("GET", "/health/live?verbose", 200),
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("POST", "/health/live", 405),
        ("DELETE", "/metrics", 405),
    ],
)
def test_only_reading_is_answered(service: Service, method: str, path: str, status: int) -> None:
    answered, body = service.ask(path, method)

    assert answered == status
    assert bool(body) is (method != "HEAD")


async def test_an_answer_comes_while_the_loop_is_stuck(service: Service) -> None:
    """Fault 44."""
    with ThreadPoolExecutor() as elsewhere:
        # Waiting for a thread like this blocks the loop.
        status, _ = elsewhere.submit(service.ask, "/health/live").result(timeout=30)

    assert status == 200


def test_silent_clients_block_nobody_and_the_oldest_make_room(service: Service) -> None:
    """Fault 47."""
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=2)) for _ in range(100)
        ]

        assert service.ask("/health/live")[0] == 200
        assert silent[0].recv(1) == b""


def test_a_client_that_never_finishes_is_hung_up_on() -> None:
    """Fault 47."""
    service = Service(patience=0.2)

    try:
        with socket.create_connection(("127.0.0.1", service.port), timeout=5) as slow:
            slow.sendall(b"GET /health/live HTTP/1.1\r\nX-Slow: ")

            assert slow.recv(1) == b""
    finally:
        service.health.stop()


def test_our_own_fault_is_logged_and_the_next_request_answered(service: Service) -> None:
    connected, service.connected = service.connected, None  # type: ignore[assignment]  # a bug of ours
    with capture_logs() as logged, pytest.raises(http.client.RemoteDisconnected):
        service.ask("/health/ready")

    service.connected = connected

    assert [(line["event"], line["log_level"]) for line in logged] == [("No answer to a health request", "error")]
    assert service.ask("/health/ready")[0] == 200


def test_a_port_in_use_is_a_sentence(service: Service) -> None:
    other = Health("graphinator", broker=dict, store=lambda: service.store)

    with pytest.raises(
        StartRefused, match=rf"METRICS_PORT {service.port} can't be listened on \(Address already in use"
    ):
        other.start("127.0.0.1", service.port)


def test_a_name_to_listen_on_that_no_name_server_answers_for_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 83."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait() and [])
    health = Health("graphinator", broker=dict, store=lambda: StoreState("Neo4j", available=True), patience=0.05)

    with pytest.raises(StartRefused, match=r"METRICS_HOST me\.example .*name server has not answered within 0\.05 s"):
        health.start("me.example", 0)
    over.set()


def test_an_address_of_another_machine_is_a_sentence() -> None:
    health = Health("graphinator", broker=dict, store=lambda: StoreState("Neo4j", available=True))

    with pytest.raises(StartRefused, match=r"METRICS_HOST 192\.0\.2\.1 with METRICS_PORT 0 can't be listened on"):
        health.start("192.0.2.1", 0)


def test_a_stopped_health_gives_its_port_back() -> None:
    health = Health("graphinator", broker=dict, store=lambda: StoreState("Neo4j", available=True))
    port = health.start("127.0.0.1", 0)

    health.stop()

    assert health.start("127.0.0.1", port) == port
    health.stop()


# -- the loop


async def test_the_watch_beats_and_measures_how_late_the_loop_is() -> None:
    beaten = asyncio.Event()

    async with asyncio.TaskGroup() as group:
        watch = group.create_task(watch_loop("lagging", beat=beaten.set))
        await beaten.wait()
        watch.cancel()

    assert REGISTRY.get_sample_value("spindle_event_loop_lag_seconds", {"service": "lagging"}) is not None
    LOOP_LAG.remove("lagging")


async def test_a_blocking_call_shows_as_lag() -> None:
    """Fault 41."""
    beats: asyncio.Queue[None] = asyncio.Queue()

    async with asyncio.TaskGroup() as group:
        watch = group.create_task(watch_loop("blocked", beat=lambda: beats.put_nowait(None)))
        await beats.get()
        await asyncio.sleep(0)
        block(0.3)
        await beats.get()
        watch.cancel()

    lag = REGISTRY.get_sample_value("spindle_event_loop_lag_seconds", {"service": "blocked"})
    assert lag is not None and lag > 0.15
    LOOP_LAG.remove("blocked")


def block(seconds: float) -> None:
    """What must not happen on a loop: wait for a network without giving way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        nobody.settimeout(seconds)
        with pytest.raises(TimeoutError):
            nobody.recv(1)


async def test_the_rate_counts_every_outcome_of_a_kind() -> None:
    KindMetrics("rated", "labels").settled(Outcomes(new=3, unchanged=2), superseded=1)
    beats: asyncio.Queue[None] = asyncio.Queue()

    async with asyncio.TaskGroup() as group:
        watch = group.create_task(watch_loop("rated", beat=lambda: beats.put_nowait(None)))
        await beats.get()
        KindMetrics("rated", "labels").settled(Outcomes(changed=50), superseded=50)
        for _ in range(11):
            await beats.get()
        watch.cancel()

    rate = REGISTRY.get_sample_value("spindle_records_per_second", {"service": "rated", "kind": "labels"})
    assert rate == pytest.approx(100, rel=0.2)
    RECORDS_PER_SECOND.remove("rated", "labels")


def test_a_rate_is_that_of_the_last_ten_seconds() -> None:
    rates = Rates()

    seen = [rates.observe(float(at), {"artists": 10.0 * min(at, 20)})["artists"] for at in range(41)]

    assert seen[0] == 0.0
    assert seen[5] == seen[20] == 10.0
    assert seen[25] == 5.0
    assert seen[30] == seen[40] == 0.0


def test_a_kind_that_appears_later_grows_from_nothing() -> None:
    rates = Rates()
    rates.observe(0.0, {})

    assert rates.observe(4.0, {"labels": 8.0}) == {"labels": 2.0}


_ACCEPT = st.lists(
    st.sampled_from(
        ["application/openmetrics-text", "text/plain", "version=", "escaping=", "abc", "1.0.0", ";", ",", " "]
    )
    | st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=4),
    max_size=8,
).map("".join)


@pytest.fixture
def few_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of all tests before, of which writing and sending the form takes a third of a second."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    monkeypatch.setattr("common.telemetry.health.REGISTRY", registry)


@pytest.mark.usefixtures("few_metrics")
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("application/openmetrics-text; version=abc")
@example("text/plain; version=1.x")
@given(accept=_ACCEPT)
def test_metrics_are_told_whatever_form_is_asked_for(service: Service, accept: str) -> None:
    """Fault 83."""
    status, body = service.ask("/metrics", accept=accept)

    assert status == 200
    assert b"process_start_time_seconds" in body
