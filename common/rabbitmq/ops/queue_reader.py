"""Take messages from a queue one after the other, and hold what was taken until told otherwise."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from common.delivery import Properties
from common.errors import BrokerUnavailable
from common.rabbitmq.channel import Channel, open_channel
from common.rabbitmq.channel import Properties as WireProperties
from common.rabbitmq.condition import Condition
from common.rabbitmq.connection import ANSWER_TIMEOUT, CLOSE_TIMEOUT, Connection, broker_errors
from common.rabbitmq.properties import translated


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A message of a dead-letter queue."""

    body: bytes
    properties: Properties


class Taking:
    """A channel that consumes a queue. What is not acknowledged when it closes goes back to the head, in order."""

    def __init__(self, channel: Channel, condition: Condition) -> None:
        self._channel, self._condition = channel, condition
        self._arrived: deque[StoredLetter] = deque()
        self._consumer = ""
        self.over = ""
        """Why nothing more will come; empty while that is not so."""
        channel.on_delivery = self._arrive
        channel.on_end(self._end)
        channel.on_consumer_cancel_callbacks.add(lambda _: self._end("the queue was deleted"))

    def take(self) -> StoredLetter | None:
        """The next letter that has arrived, if one has. Letters are numbered by the order in which they are taken."""
        return self._arrived.popleft() if self._arrived else None

    @property
    def has_arrived(self) -> bool:
        """Whether there is one to take."""
        return bool(self._arrived)

    async def acknowledge(self, number: int) -> None:
        """Acknowledge everything up to the letter of this number; the first is 1."""
        await self._channel.basic_ack(number, multiple=True, wait=False)

    async def cancel(self) -> None:
        """Ask for no more; what was taken stays taken."""
        async with asyncio.timeout(ANSWER_TIMEOUT):
            await self._channel.basic_cancel(self._consumer)

    async def begin(self, queue: str, prefetch: int) -> None:
        """Ask for messages, so many unacknowledged at a time."""
        async with asyncio.timeout(ANSWER_TIMEOUT):
            await self._channel.basic_qos(prefetch_count=prefetch)
            self._consumer = (await self._channel.basic_consume(queue, _unused)).consumer_tag or ""

    def _arrive(self, _tag: int, properties: WireProperties, body: bytes) -> None:
        self._arrived.append(StoredLetter(body, translated(properties)))
        self._condition.notify()

    def _end(self, reason: str) -> None:
        self.over = self.over or reason
        self._condition.notify()


@asynccontextmanager
async def taking(connection: Connection, queue: str, *, prefetch: int, condition: Condition) -> AsyncIterator[Taking]:
    """Take from a queue for as long as the block lasts; `condition` is notified of what arrives.

    Raises: BrokerUnavailable.
    """
    with broker_errors(connection.address):
        channel = await open_channel(connection)
        try:
            letters = Taking(channel, condition)
            await letters.begin(queue, prefetch)
            yield letters
        finally:
            with suppress(BrokerUnavailable, TimeoutError), broker_errors(connection.address):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await channel.close()


async def _unused(_: object) -> None:
    """Stand in for aiormq's callback per message, which the channel does without."""
