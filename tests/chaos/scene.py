"""What a fault can lay its hands on."""

import asyncio
import random
import subprocess
from dataclasses import dataclass, field

from common.errors import SpindleError
from common.kinds import Service
from tests.chaos.producing import Material, Producer
from tests.chaos.supervising import Supervised
from tests.chaos.world import Place, World
from tests.servers.amqp import peer_of

_LOOK = 0.2


class Skipped(Exception):
    """A fault could not be made without breaking more than it is about."""


@dataclass(slots=True)
class Scene:
    """One run's world, and who acts in it."""

    world: World
    place: Place
    material: Material
    producer: Producer
    services: dict[Service, Supervised]
    rng: random.Random
    tasks: asyncio.TaskGroup
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    """One for each server and service: what two faults can't do to it at once."""

    def lock(self, name: str) -> asyncio.Lock:
        """The lock of a server or service."""
        return self.locks.setdefault(name, asyncio.Lock())

    async def is_empty(self, service: Service) -> bool:
        """Whether nothing is in a service's queues, and nothing with the service."""
        return await self._seems_empty(service) and await self._is_empty(service)

    async def until_empty(self, service: Service, seconds: float) -> bool:
        """Wait until a service has nothing left. Returns: whether it came to that."""
        try:
            async with asyncio.timeout(seconds):
                while not await self.is_empty(service):
                    await asyncio.sleep(_LOOK)
        except TimeoutError:
            return False
        return True

    async def has_queue(self, queue: str) -> bool:
        """Whether a queue is there."""
        async with peer_of(self.place.broker.url) as peer:
            return await peer.ready(queue) is not None

    async def _is_empty(self, service: Service) -> bool:
        place = self.place
        queues = [place.broker.names.queue(service, kind) for kind in self.material.ids]
        try:
            return not await self.world.held(place.vhost, queues)
        except (AssertionError, subprocess.TimeoutExpired):  # no such queue, no broker, or one that is slow to answer
            return False

    async def _seems_empty(self, service: Service) -> bool:
        """Ask what is asked quickly."""
        metrics = await self.services[service].metrics()
        if metrics is None or metrics.sum("spindle_broker_connected") < len(self.material.ids):
            return False
        if metrics.sum("spindle_unacknowledged_deliveries"):
            return False
        try:
            return not await self.place.broker.waiting(service)
        except (AssertionError, SpindleError):  # a queue that is missing, or no broker, is not an empty queue
            return False
