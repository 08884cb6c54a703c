"""Take messages from a queue one after the other, and hold what was taken until told otherwise."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from common.delivery import Properties
from common.errors import BrokerUnavailable
from common.rabbitmq.channel import Channel, open_channel, uncalled
from common.rabbitmq.channel import Properties as WireProperties
from common.rabbitmq.condition import Condition
from common.rabbitmq.connection import ANSWER_TIMEOUT, CLOSE_TIMEOUT, Connection, broker_errors
from common.rabbitmq.consuming.subscription import APPLIED
from common.rabbitmq.properties import translated

_PILE = 500
"""Letters that may lie here untaken before the socket is left unread."""


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A message of a dead-letter queue."""

    body: bytes
    properties: Properties


class Taking:
    """A channel that consumes a queue. What is not acknowledged when it closes goes back to the head, in order."""

    def __init__(self, channel: Channel, connection: Connection, queue: str, condition: Condition) -> None:
        self._channel, self._connection, self._queue, self._condition = channel, connection, queue, condition
        self._arrived: deque[StoredLetter] = deque()
        self._consumers: list[str] = []
        self._room = 0
        self.over = ""
        """Why nothing more will come; empty while that is not so."""
        self.taken = 0
        """How many were taken: the number of the last."""
        self.has_acknowledged_singly = False
        channel.on_delivery = self._arrive
        channel.on_end(self._end)
        channel.on_consumer_cancel_callbacks.add(lambda _: self._end("the queue was deleted"))

    def take(self) -> StoredLetter | None:
        """The next letter that has arrived, if one has. Letters are numbered by the order in which they are taken."""
        if not self._arrived:
            self._connection.resume_reading()
            return None
        self.taken += 1
        return self._arrived.popleft()

    @property
    def has_arrived(self) -> bool:
        """Whether there is one to take."""
        return bool(self._arrived)

    @property
    def is_full(self) -> bool:
        """Whether as many have come as were asked for, those acknowledged counted too."""
        return self._room <= 0

    async def acknowledge(self, number: int) -> None:
        """Acknowledge everything up to the letter of this number; the first is 1."""
        await self._channel.basic_ack(number, multiple=True, wait=False)

    async def acknowledge_one(self, number: int) -> None:
        """Acknowledge one letter."""
        self.has_acknowledged_singly = True
        await self._channel.basic_ack(number, wait=False)

    async def consume(self, prefetch: int) -> None:
        """Ask for letters, so many unacknowledged at a time, beside those that were asked for before."""
        # By their tags: a broker gives back in the order of its consumers.
        tag = f"spindle.{len(self._consumers):06}"
        self._room = prefetch
        async with asyncio.timeout(ANSWER_TIMEOUT):
            await self._channel.basic_qos(prefetch_count=prefetch)
            await self._channel.basic_consume(self._queue, uncalled, consumer_tag=tag)
        self._consumers.append(tag)

    async def waiting(self) -> int:
        """How many letters the queue has ready. What it has sent on this channel before has arrived then."""
        async with asyncio.timeout(ANSWER_TIMEOUT):
            return (await self._channel.queue_declare(self._queue, passive=True)).message_count or 0

    async def cancel(self) -> None:
        """Ask for no more; what was taken stays taken."""
        async with asyncio.timeout(ANSWER_TIMEOUT):
            while self._consumers:
                await self._channel.basic_cancel(self._consumers.pop())

    def _arrive(self, _tag: int, properties: WireProperties, body: bytes) -> None:
        self._room -= 1
        self._arrived.append(StoredLetter(body, translated(properties)))
        if len(self._arrived) >= _PILE:
            self._connection.pause_reading()
        self._condition.notify()

    def _end(self, reason: str) -> None:
        self.over = self.over or reason
        self._condition.notify()


@asynccontextmanager
async def taking(connection: Connection, queue: str, *, condition: Condition) -> AsyncIterator[Taking]:
    """Take from a queue, and hold, for as long as the block lasts; `condition` is notified of what arrives.

    Raises: BrokerUnavailable.
    """
    with broker_errors(connection.address):
        channel = await open_channel(connection)
        try:
            letters = Taking(channel, connection, queue, condition)
            yield letters
            if letters.has_acknowledged_singly:
                await asyncio.sleep(APPLIED)
        finally:
            with suppress(BrokerUnavailable, TimeoutError), broker_errors(connection.address):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await channel.close()
