"""The compose stack at work: its replicas, loads through its extractor, its queues, its alerts."""

import asyncio
import json
import re
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from common.kinds import KINDS, Names, Service
from tests.e2e.services import Metrics
from tests.servers.amqp import peer_of
from tests.servers.compose import ComposeFailed, ComposeStack, service_of

LOOK = 0.3  # seconds between two looks
_PORTS = {Service.GRAPHINATOR: "8001/tcp", Service.TABLEINATOR: "8002/tcp"}
_NAMES = Names()

# Run inside of a container: `docker kill` would count as an operator's wish, which no restart policy overrules.
_KILL = """
import os, pathlib, sys
[process] = [each for each in pathlib.Path("/proc").glob("[0-9]*/cmdline")
             if each.read_bytes().split(b"\\0")[:3] == [b"python", b"-m", sys.argv[1].encode()]]
os.kill(int(process.parent.name), 9)
"""


@dataclass(frozen=True, slots=True)
class Replica:
    """One container of a service as it was when it was looked at: a restart gives it another port."""

    service: Service
    container: str
    number: int
    restarts: int
    health: str
    url: str

    def metrics(self) -> Metrics:
        """What `/metrics` says now."""
        return Metrics(_get(f"{self.url}/metrics")[1])

    def ready(self) -> tuple[int, dict[str, Any]]:
        """Status and body of `/health/ready`."""
        status, body = _get(f"{self.url}/health/ready")
        return status, json.loads(body)


def replicas(stack: ComposeStack, service: Service) -> list[Replica]:
    """A service's running containers, by number."""
    found = [
        _replica(each, service) for each in stack.inspect() if service_of(each) == service and each["State"]["Running"]
    ]
    return sorted(found, key=lambda replica: replica.number)


def kill(stack: ComposeStack, replica: Replica) -> None:
    """End a replica's process as a power cut would."""
    try:
        stack.docker("exec", replica.container, "python", "-c", _KILL, replica.service)
    except ComposeFailed as error:
        if "exit 137" not in str(error):  # the container may end, and with it what kills in it, before that has ended
            raise


def outcomes(found: Iterable[Replica]) -> Counter[str]:
    """What became of the records that these processes have settled."""
    counted: Counter[str] = Counter()
    for replica in found:
        counted += replica.metrics().outcomes()
    return counted


def settled(found: Iterable[Replica]) -> int:
    """How many records these processes have brought to an end."""
    return outcomes(found).total()


def extract(stack: ComposeStack, *load: str) -> int:
    """Publish a load by the extractor's container, whatever state the services are in. Returns: how many records."""
    # (Compose asks for healthy services before a load; a test may want one in mid-outage.)
    said = stack.compose("run", "--rm", "-T", "--no-deps", "extractor", *load, "--json", timeout=900.0)
    return int(json.loads(said)["published"])


def verify(stack: ComposeStack, *load: str) -> dict[str, Any]:
    """Compare both stores with a load, by the operator's container."""
    run = ("run", "--rm", "-T", "--entrypoint", "sh", "spindle", "-c")
    said = stack.compose(*run, f"python -m spindle verify {' '.join(load)} --json || test $? = 1", timeout=900.0)
    found: dict[str, Any] = json.loads(said)
    return found


def until(fact: Callable[[], Any], what: str, *, seconds: float = 120.0) -> float:
    """Look again and again whether something is so. Returns: how many seconds that took."""
    began = time.monotonic()
    while not _holds(fact):
        assert time.monotonic() - began < seconds, f"not {what} within {seconds:g} s"
        time.sleep(LOOK)
    return time.monotonic() - began


def until_drained(stack: ComposeStack, *, seconds: float = 900.0) -> None:
    """Wait until the queues are empty and no replica holds anything, twice in a row: between two looks what the broker
    had just sent arrives."""
    deadline, empty = time.monotonic() + seconds, 0
    found = [replica for service in Service for replica in replicas(stack, service)]
    while empty < 2:
        left = _waiting(stack, _NAMES.queue) + sum(_held(replica) for replica in found)
        empty = 0 if left else empty + 1
        assert time.monotonic() < deadline, f"{left} left after {seconds:g} s"
        time.sleep(LOOK)


def dead_letters(stack: ComposeStack) -> int:
    """How many messages the dead-letter queues hold."""
    return _waiting(stack, _NAMES.dead_letter_queue)


def alerts(stack: ComposeStack) -> dict[str, str]:
    """The alerts that are pending or firing in Prometheus: state by name."""
    _, body = _get(f"http://127.0.0.1:{stack.ports['PROMETHEUS_PORT']}/api/v1/alerts")
    return {alert["labels"]["alertname"]: alert["state"] for alert in json.loads(body)["data"]["alerts"]}


def targets(stack: ComposeStack) -> Counter[tuple[str, str]]:
    """How many targets of each job Prometheus finds, and how they are."""
    _, body = _get(f"http://127.0.0.1:{stack.ports['PROMETHEUS_PORT']}/api/v1/targets?state=active")
    return Counter((each["labels"]["job"], each["health"]) for each in json.loads(body)["data"]["activeTargets"])


def _replica(container: dict[str, Any], service: Service) -> Replica:
    [published, *_] = container["NetworkSettings"]["Ports"][_PORTS[service]]
    return Replica(
        service=service,
        container=container["Id"],
        number=int(container["Config"]["Labels"]["com.docker.compose.container-number"]),
        restarts=container["RestartCount"],
        health=container["State"]["Health"]["Status"],
        url=f"http://127.0.0.1:{published['HostPort']}",
    )


def _holds(fact: Callable[[], Any]) -> bool:
    try:
        return bool(fact())
    except (OSError, KeyError, ValueError):  # a container that is just being started: no port, or no answer
        return False


def _held(replica: Replica) -> int:
    return int(replica.metrics().sum("spindle_unacknowledged_deliveries"))


def _waiting(stack: ComposeStack, name: Callable[[Service, str], str]) -> int:
    return asyncio.run(_lengths(stack, [name(service, kind) for service in Service for kind in KINDS]))


async def _lengths(stack: ComposeStack, queues: list[str]) -> int:
    url = f"amqp://spindle:{stack.password('rabbitmq')}@127.0.0.1:{stack.ports['RABBITMQ_PORT']}/%2F"
    async with peer_of(url) as peer:
        lengths = {queue: await peer.ready(queue) for queue in queues}
    assert None not in lengths.values(), f"a queue is missing: {lengths}"
    return sum(length or 0 for length in lengths.values())


def _get(url: str) -> tuple[int, str]:
    assert re.match(r"http://127\.0\.0\.1:\d+/", url)
    try:
        with urllib.request.urlopen(url, timeout=10.0) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
