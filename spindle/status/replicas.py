"""Find every replica of a service and ask each for its metrics and its readiness; one that does not answer is shown."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from common.kinds import Service
from common.network.names import Address, NameNotFound, look_up
from common.ops.scraping import Samples, Unreachable, ask, scrape
from common.settings.servers import parse_endpoint

TIMEOUT = 3.0
"""Seconds for each step of an answer: whoever watches wants to see who is slow, not to wait for him."""

_RESOLVING = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Replica:
    """One process of a service, or an address at which there is none."""

    service: Service
    address: str
    samples: Samples | None = None
    """None if it does not answer."""
    trouble: tuple[str, ...] = field(default=())
    """Why it does not answer, or what it says is missing while it isn't ready; a sentence each."""
    paused: Mapping[str, str] = field(default_factory=dict)
    """By kind, who has paused it, when and why."""

    @property
    def answers(self) -> bool:
        """Whether it can be asked."""
        return self.samples is not None

    @property
    def has_begun(self) -> bool:
        """Whether it works on any kind: before its store is connected it asks RabbitMQ for nothing."""
        return self.samples is not None and any(self.samples.of("spindle_broker_connected"))

    @property
    def is_ready(self) -> bool:
        """Whether it has its broker and its store."""
        return self.answers and not self.trouble


async def look_at_replicas(service: Service, places: Sequence[str]) -> list[Replica]:
    """Ask every process that is found at these places (`host:port`); a name may stand for many."""
    found = [await _resolve(service, place) for place in places]
    asked = [each for replicas in found for each in replicas]
    async with asyncio.TaskGroup() as group:
        # Addresses without a trouble are still to be asked.
        tasks = [group.create_task(_look(each)) for each in asked if not each.trouble]
    return [*(each for each in asked if each.trouble), *(task.result() for task in tasks)]


async def _resolve(service: Service, place: str) -> list[Replica]:
    endpoint = parse_endpoint(place)
    try:
        found = await look_up(endpoint.host, endpoint.port or 0, timeout=_RESOLVING)
    except NameNotFound as error:
        return [Replica(service, place, trouble=(f"{error}: no replica runs there",))]
    return [Replica(service, address) for address in _chosen(found)]


def _chosen(found: Iterable[Address]) -> list[str]:
    """Each address once; those of IPv6 only if there is no other, since `localhost` has both and means one."""
    pairs = sorted(set(found), key=str)
    old = [f"{host}:{port}" for host, port in pairs if ":" not in host]
    return old or [f"[{host}]:{port}" for host, port in pairs]


async def _look(replica: Replica) -> Replica:
    return await asyncio.to_thread(_ask, replica)


def _ask(replica: Replica) -> Replica:
    host, _, port = replica.address.rpartition(":")
    host = host.strip("[]")
    try:
        samples = scrape(host, int(port), timeout=TIMEOUT)
        _, said = ask(host, int(port), "/health/ready", timeout=TIMEOUT)
    except Unreachable as error:
        return Replica(replica.service, replica.address, trouble=(str(error).removeprefix(f"{replica.address} "),))
    replica = Replica(replica.service, replica.address, samples)
    return replace(replica, trouble=tuple(missing(said, has_begun=replica.has_begun)), paused=pauses(said))


def pauses(said: bytes) -> dict[str, str]:
    """What a readiness answer says of paused kinds."""
    try:
        paused = json.loads(said).get("paused", {})
        return {kind: _pause(pause) for kind, pause in paused.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _pause(pause: Mapping[str, str]) -> str:
    since = pause["since"][:16].replace("T", " ")
    return f"by {pause['by']} since {since} UTC" + (f": {pause['reason']}" if pause["reason"] else "")


def missing(said: bytes, *, has_begun: bool) -> list[str]:
    """What a readiness answer names, as `common.telemetry.health` writes it."""
    try:
        report = json.loads(said)
        broker, store = report["broker"], report["store"]
        troubles = []
        if store["status"] != "ok" and not has_begun:
            # That it has no connection to RabbitMQ either follows from this, and would send people to the wrong server.
            detail = store.get("detail") or "not connected"
            return [f"waits for {store['name']} ({detail}), and takes nothing from RabbitMQ before"]
        if broker["status"] != "ok":
            kinds = ", ".join(broker.get("disconnected", ())) or "every kind"
            troubles.append(f"not connected to RabbitMQ for {kinds}")
        if store["status"] != "ok":
            troubles.append(f"{store['name']} is held to be unavailable: {store.get('detail') or 'no reason given'}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ["its readiness can't be read"]
    return troubles
