"""A stream that never ends and never grows: the same ids again and again, of a later load each time, each hash new.

So every record is really written, the stores stay as large as one load, and what they must hold at any end is known.
The bodies are made once: a round costs the producer a slice of bytes each.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress

from common.kinds import KINDS, Service
from common.rabbitmq.publishing.publisher import Outgoing, Publisher
from extractor.control import headers
from extractor.loads import messages
from extractor.synthetic.synthetic import SyntheticLoad
from tests.e2e.broker import Broker
from tests.servers.amqp import Peer, peer_of, settings

_SLICE = 1000
_LOOK = 0.1

Body = tuple[str, str, bytes, bytes, bytes]
"""Kind, id, and the bytes before and after the first eight digits of the hash; the rest of these."""


async def pause(over: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until it is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await over.wait()


class Stream:
    """One service's own stream, through exchanges of its own, so that neither waits for the other."""

    def __init__(
        self, broker: Broker, service: Service, *, records: int, backlog: int, kinds: Sequence[str] = KINDS
    ) -> None:
        """`records`: of a whole load, of which these kinds are a part. `backlog`: how many wait for the service at the
        least.
        """
        self.broker, self.service, self.kinds, self._backlog = broker, service, kinds, backlog
        load = SyntheticLoad(records, seed=8)
        self._bodies: list[Body] = []
        for kind in kinds:
            for message in messages(load, kind):
                before, after = message.body.split(message.sha256.encode(), 1)
                self._bodies.append((kind, message.id, before, after, message.sha256[8:].encode()))
        random.Random(8).shuffle(self._bodies)
        self.published = 0

    async def run(self, over: asyncio.Event) -> None:
        """Keep the service's queues filled until it is over; what is begun is published whole, so that it is known."""
        async with (
            Publisher(settings(self.broker.url), max_unconfirmed=4000, name="endurance") as publisher,
            peer_of(self.broker.url) as peer,
        ):
            while not over.is_set():
                if await self._waiting(peer) < self._backlog:
                    await self._publish(publisher)
                else:
                    await pause(over, _LOOK)

    def expected(self) -> dict[str, dict[str, str]]:
        """The load that each id of each kind must be stored with."""
        found: dict[str, dict[str, str]] = {kind: {} for kind in self.kinds}
        rounds, place = divmod(self.published, len(self._bodies))
        for number, (kind, record_id, *_) in enumerate(self._bodies):
            last = rounds if number < place else rounds - 1
            if last >= 0:
                found[kind][record_id] = _load(last)
        return found

    async def _publish(self, publisher: Publisher, most: int = _SLICE, *, flush: bool = True) -> None:
        number, start = divmod(self.published, len(self._bodies))
        slice_ = self._bodies[start : start + most]
        for kind, outgoing in self._outgoing(number, slice_).items():
            await publisher.publish(self.broker.names.exchange(kind), outgoing)
        if flush:
            await publisher.flush()
        self.published += len(slice_)

    def _outgoing(self, number: int, slice_: Sequence[Body]) -> dict[str, list[Outgoing]]:
        """Messages of the load of this number, by kind."""
        shared = headers(_load(number), time.time_ns() // 1_000_000)
        mark = b"%08x" % number
        by_kind: dict[str, list[Outgoing]] = {kind: [] for kind in self.kinds}
        for kind, _, before, after, rest in slice_:
            by_kind[kind].append(Outgoing(before + mark + rest + after, "", shared))
        return by_kind

    async def _waiting(self, peer: Peer) -> int:
        queues = [self.broker.names.queue(self.service, kind) for kind in self.kinds]
        return sum([await peer.ready(queue) or 0 for queue in queues])


def _load(number: int) -> str:
    return f"{20_000_000 + number}"
