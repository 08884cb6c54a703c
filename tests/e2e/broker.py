"""The test's side of the broker: a service's queues, loads to publish, dead letters to look at."""

import asyncio
import time
from collections.abc import Mapping, Sequence

from aiormq.abc import DeliveredMessage

from common.kinds import KINDS, Service
from common.rabbitmq.publishing.publisher import Outgoing, Publisher
from common.rabbitmq.topology import declare
from extractor.control import file_complete, headers
from extractor.loads import Load
from tests.e2e.loads import messages_of
from tests.e2e.services import Running
from tests.servers.amqp import Peer, new_names, peer_of, settings

_CHUNK = 500
_LOOK = 0.3  # seconds between two looks at a queue


class Broker:
    """One vhost, and names of this test's own in it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.names = new_names()

    @property
    def environment(self) -> dict[str, str]:
        """What leads a service here."""
        return {"RABBITMQ_URL": self.url, "DISCOGS_EXCHANGE_PREFIX": self.names.prefix}

    async def declare(self, service: Service) -> None:
        """Have a service's queues before the service."""
        async with peer_of(self.url) as peer:
            for kind in KINDS:
                await declare(peer.connection, self.names, service, kind)

    async def publish(self, load: Load, *, extra: Mapping[str, Sequence[bytes]] | None = None) -> int:
        """Publish a load, control messages included, and among its records the bodies of `extra`, evenly spread.

        Returns: how many records the load has.
        """
        count = 0
        async with Publisher(settings(self.url), max_unconfirmed=4000, name="test") as publisher:
            for kind in load.kinds:
                bodies = [message.body for message in messages_of(load, kind)]
                await self._publish(publisher, load, kind, _mixed(bodies, (extra or {}).get(kind, ())))
                count += len(bodies)
            await publisher.flush()
        return count

    async def until_drained(self, running: Running, *, seconds: float = 180.0) -> None:
        """Wait until a service's queues are empty and it holds nothing.

        Twice in a row: between the two looks what the broker had just sent arrives.
        """
        deadline, empty = time.monotonic() + seconds, 0
        while empty < 2:
            held = int(running.metrics().sum("spindle_unacknowledged_deliveries"))
            left = held + await self.waiting(running.service)
            empty = 0 if left else empty + 1
            assert not running.has_ended, f"{running.service} ended"
            assert time.monotonic() < deadline, f"{running.service} has {left:,} left after {seconds:g} s"
            await asyncio.sleep(_LOOK)

    async def waiting(self, service: Service) -> int:
        """How many messages wait in a service's queues; those given out are not counted."""
        return await self._total([self.names.queue(service, kind) for kind in KINDS])

    async def dead_letters(self, service: Service) -> int:
        """How many messages a service's dead-letter queues hold."""
        return await self._total([self.names.dead_letter_queue(service, kind) for kind in KINDS])

    async def take_dead_letters(self, service: Service, kind: str) -> list[DeliveredMessage]:
        """Take everything out of a dead-letter queue."""
        async with peer_of(self.url) as peer:
            return await peer.get_all(self.names.dead_letter_queue(service, kind))

    async def delivery_counts(self, service: Service, *, most: int) -> list[int]:
        """How often each of the first messages of a service's queues was given out and returned. They return again."""
        async with peer_of(self.url) as peer:
            counts = [await _peek(peer, self.names.queue(service, kind), most=most) for kind in KINDS]
        return [count for each in counts for count in each]

    async def _publish(self, publisher: Publisher, load: Load, kind: str, bodies: Sequence[bytes]) -> None:
        exchange = self.names.exchange(kind)
        for start in range(0, len(bodies), _CHUNK):
            shared = headers(load.date, time.time_ns() // 1_000_000)
            chunk = [Outgoing(body, "", shared) for body in bodies[start : start + _CHUNK]]
            await publisher.publish(exchange, chunk)
        done = file_complete(kind=kind, load=load.date, total_processed=len(bodies), file=load.file_name(kind))
        await publisher.publish(exchange, [done])

    async def _total(self, queues: Sequence[str]) -> int:
        async with peer_of(self.url) as peer:
            lengths = {queue: await peer.ready(queue) for queue in queues}
        assert None not in lengths.values(), f"a queue is missing: {lengths}"
        return sum(length or 0 for length in lengths.values())


def _mixed(bodies: Sequence[bytes], extra: Sequence[bytes]) -> list[bytes]:
    mixed = list(bodies)
    for number, body in enumerate(extra, start=1):
        mixed.insert(number * len(bodies) // (len(extra) + 1) + number, body)
    return mixed


async def _peek(peer: Peer, queue: str, *, most: int) -> list[int]:
    expected = min(most, await peer.ready(queue) or 0)
    counts: list[int] = []
    complete = asyncio.Event()

    async def see(message: DeliveredMessage) -> None:
        count = (message.header.properties.headers or {}).get("x-delivery-count", 0)
        assert isinstance(count, int)
        counts.append(count)
        if len(counts) == expected:
            complete.set()

    channel = await peer.connection.channel(publisher_confirms=False)
    await channel.basic_qos(prefetch_count=most)
    if expected:
        await channel.basic_consume(queue, see)
        async with asyncio.timeout(30.0):
            await complete.wait()
    await channel.close()
    return counts
