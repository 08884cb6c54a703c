"""A stream of records that never ends: behind a backlog, or at a pace; each round new, or the same again."""

import asyncio
from collections.abc import Sequence

from common.kinds import Service
from common.rabbitmq.publishing.publisher import Outgoing, Publisher
from tests.e2e.broker import Broker
from tests.endurance.loading import Body, Stream, pause
from tests.servers.amqp import settings

BACKLOG = 6_000
"""More than what a service has in hand and what advice takes for a moment's wait, with batches of 500."""

_LEAST = 1_000
"""Records of a round."""

ROUNDS = 10_000
"""Loads that one feed may have."""


class Feed(Stream):
    """One service's stream."""

    def __init__(
        self,
        broker: Broker,
        service: Service,
        *,
        records: int,
        kinds: Sequence[str],
        backlog: int = BACKLOG,
        rate: float | None = None,
        burst: int = 50,
        same: bool = False,
        broken_every: int = 0,
        first: int = 0,
        unconfirmed: int = 4000,
    ) -> None:
        """`rate`: records per second, `burst` at a time, instead of a backlog. `same`: each round is the first again.
        `broken_every`: one message of so many is no JSON. `first`: the number of its first load; of two feeds whose
        store is not emptied between them, the second one's loads are newer.
        """
        super().__init__(broker, service, records=records, backlog=backlog, kinds=kinds)
        self._bodies *= max(1, _LEAST // len(self._bodies))  # a confirm is waited for once in a round
        self._rate, self._burst, self._same, self._broken_every = rate, burst, same, broken_every
        self._first, self._unconfirmed = first, unconfirmed

    @property
    def size(self) -> int:
        """Records of one round."""
        return len(self._bodies)

    async def run(self, over: asyncio.Event) -> None:
        """Publish until it is over."""
        if self._rate is None:
            await super().run(over)
            return
        loop = asyncio.get_running_loop()
        async with Publisher(settings(self.broker.url), max_unconfirmed=self._unconfirmed, name="test") as publisher:
            began = loop.time()
            while not over.is_set():
                await self._publish(publisher, self._burst, flush=False)
                await pause(over, max(0.0, began + self.published / self._rate - loop.time()))

    async def fill(self, count: int) -> None:
        """Publish so many at once."""
        async with Publisher(settings(self.broker.url), max_unconfirmed=self._unconfirmed, name="test") as publisher:
            end = self.published + count
            while self.published < end:
                await self._publish(publisher)

    def _outgoing(self, number: int, slice_: Sequence[Body]) -> dict[str, list[Outgoing]]:
        outgoing = super()._outgoing(self._first + (0 if self._same else number), slice_)
        if self._broken_every:
            for of_kind in outgoing.values():
                for each in of_kind[:: self._broken_every]:
                    each.body = b"{no json"
        return outgoing
