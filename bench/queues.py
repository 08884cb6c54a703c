"""The queue of an arm: made again, filled with the records, confirmed. Every consumer finds the same one."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from pydantic import SecretStr

from common.kinds import Names, Service
from common.rabbitmq.connection import connected
from common.rabbitmq.publishing.publisher import Outgoing, Publisher
from common.rabbitmq.topology import declare, queue_lengths
from common.settings.programs import BrokerSettings
from extractor.control import headers
from extractor.message import Message

NAMES = Names("bench")
MoreHeaders = Callable[[int], Mapping[str, object]]
_CHUNK = 500
_LIMIT = 30.0


class Queue:
    """One service's queue of one kind, as the wire format has it: a quorum queue behind a fanout exchange."""

    def __init__(self, url: str, service: Service, kind: str = "releases", *, is_plain: bool = False) -> None:
        """`is_plain`: without any argument, for who can't take another: a classic queue, and no dead letters."""
        self._is_plain = is_plain
        self.service, self.kind = service, kind
        self.name, self.exchange = NAMES.queue(service, kind), NAMES.exchange(kind)
        self.broker = BrokerSettings(url=SecretStr(url))
        self.environment = {"RABBITMQ_URL": url, "DISCOGS_EXCHANGE_PREFIX": NAMES.prefix}
        """What leads one of our services here."""

    async def make(self) -> None:
        """Have it, empty and new, with its exchange and its dead letters."""
        async with asyncio.timeout(_LIMIT), connected(self.broker, name="bench") as connection:
            channel = await connection.channel(publisher_confirms=False)
            await channel.queue_delete(self.name)  # cheaper than to purge one with its log
            await channel.queue_delete(NAMES.dead_letter_queue(self.service, self.kind))
            await declare(connection, NAMES, self.service, self.kind)
            if self._is_plain:
                await channel.queue_delete(self.name)
                await channel.queue_declare(self.name, durable=True)
                await channel.queue_bind(self.name, self.exchange)

    async def fill(self, messages: Sequence[Message], *, load: str, more: MoreHeaders = lambda _: {}) -> None:
        """Publish records, `load` being their version, and wait until every one is safe. `more`: headers that a message
        has besides, by its number."""
        async with Publisher(self.broker, max_unconfirmed=4000, name="bench") as publisher:
            for start in range(0, len(messages), _CHUNK):
                shared = headers(load, time.time_ns() // 1_000_000)
                chunk = messages[start : start + _CHUNK]
                outgoing = [
                    Outgoing(each.body, each.message_id, {**more(number), **shared})
                    for number, each in enumerate(chunk, start=start)
                ]
                await publisher.publish(self.exchange, outgoing)
            await publisher.flush()

    async def waiting(self) -> int:
        """How many messages it holds that are not given out."""
        return (await queue_lengths(self.broker, [self.name]))[self.name] or 0

    async def dead_letters(self) -> int:
        """How many dead letters there are."""
        name = NAMES.dead_letter_queue(self.service, self.kind)
        return (await queue_lengths(self.broker, [name]))[name] or 0
