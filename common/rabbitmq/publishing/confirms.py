"""A channel in confirm mode: what was written to it, and what the broker has said of each message."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
from aiormq.abc import ChannelFrame
from pamqp import commands

from common.delivery import Properties
from common.errors import BrokerUnavailable
from common.rabbitmq.channel import Channel, open_channel
from common.rabbitmq.channel import Properties as WireProperties
from common.rabbitmq.connection import ANSWER_TIMEOUT, Connection, broker_errors
from common.rabbitmq.frames import content_frames, publish_frame

_WRITE_BYTES = 128 * 1024
"""Bytes handed to the socket at once: enough to spare system calls, little enough for heartbeats to slip in between."""


class Message(msgspec.Struct, eq=False):
    """One message on its way to an exchange."""

    exchange: str
    properties: Properties
    body: bytes
    about: Any = None
    """What the publisher wants back with the verdict."""
    attempts: int = 0
    returned: bool = False
    routing_key: str = ""


class ConfirmedChannel:
    """Write messages and hear of each whether the broker took it. Dies with its channel."""

    def __init__(
        self,
        connection: Connection,
        channel: Channel,
        *,
        on_verdict: Callable[[Message, bool], None],
        on_end: Callable[[list[Message], str], None],
    ) -> None:
        """`on_verdict`: a message, and whether it reached a queue and is safe there. `on_end`: called once, with the
        messages that will have no verdict, in order, and the reason."""
        self.connection = connection
        self._channel = channel
        self._on_verdict, self._on_end = on_verdict, on_end
        self._unconfirmed: dict[int, Message] = {}
        self._last = 0  # the number of the last message written
        self._lowest = 1  # nothing below this is unconfirmed
        self._after_return = 1  # the broker returns in the order of writing
        self._frames: dict[tuple[str, str], bytes] = {}
        self._writing = asyncio.Lock()
        self._is_over = False
        channel.on_confirm = self._confirmed
        channel.on_return = self._returned
        channel.on_end(self.end)

    @property
    def is_over(self) -> bool:
        """Whether nothing can be written any more."""
        return self._is_over

    @property
    def unconfirmed(self) -> int:
        """How many messages await their verdict."""
        return len(self._unconfirmed)

    async def write(self, outbox: deque[Message]) -> None:
        """Write everything in the outbox; returns once the socket has taken it. Waits while publishing is blocked.

        At any time a message is in the outbox, or awaits its verdict, or was part of what `on_end` got. No timeout:
        a broker that is blocked reads nothing for as long as that takes, and one that is dead misses its heartbeats.
        Raises: BrokerUnavailable.
        """
        with broker_errors(self.connection.address):
            async with self._writing:
                while outbox:
                    await self.connection.unblocked.wait()
                    if self._is_over:
                        raise BrokerUnavailable(f"RabbitMQ at {self.connection.address}: channel closed")
                    await self._write_some(outbox)

    async def _write_some(self, outbox: deque[Message]) -> None:
        drained = self._channel.create_future()
        payload = b"".join(self._frames_of(outbox))
        try:
            await self._channel.write_queue.put(ChannelFrame(payload, should_close=False, drain_future=drained))
        except BaseException:
            self.end("interrupted")  # numbers given to messages that were not sent would shift all that follow
            raise
        await drained

    def _frames_of(self, outbox: deque[Message]) -> Iterator[bytes]:
        """Number messages and give their frames, up to a sensible amount of bytes."""
        number, frame_max = self._channel.number, self.connection.connection_tune.frame_max
        size = 0
        while outbox and size < _WRITE_BYTES:
            message = outbox.popleft()
            self._last += 1
            self._unconfirmed[self._last] = message
            size += len(message.body)
            yield self._publish_frame(message.exchange, message.routing_key)
            yield content_frames(number, message.properties, message.body, frame_max=frame_max)

    def _publish_frame(self, exchange: str, routing_key: str) -> bytes:
        frame = self._frames.get((exchange, routing_key))
        if frame is None:
            frame = self._frames[exchange, routing_key] = publish_frame(self._channel.number, exchange, routing_key)
        return frame

    def end(self, reason: str) -> None:
        """Give up the channel and whatever it has not confirmed."""
        if not self._is_over:
            self._is_over = True
            orphans = list(self._unconfirmed.values())
            self._unconfirmed.clear()
            self._on_end(orphans, reason)

    def _confirmed(self, number: int, multiple: bool, taken: bool) -> None:
        for each in range(self._lowest if multiple else number, number + 1):
            message = self._unconfirmed.pop(each, None)
            if message is not None:
                self._on_verdict(message, taken and not message.returned)
        if multiple:
            self._lowest = number + 1

    def _returned(self, frame: commands.Basic.Return, _: WireProperties, body: bytes) -> None:
        """Note which message reached no queue; its confirm, which says "taken", follows.

        A return bears no number. Messages come back in the order of writing, and of two with the same body for the same
        place either will do.
        """
        place = (frame.exchange, frame.routing_key)
        for number in range(self._after_return, self._last + 1):
            message = self._unconfirmed.get(number)
            if message is not None and (message.exchange, message.routing_key) == place and message.body == body:
                message.returned = True
                self._after_return = number + 1
                return


async def open_confirmed(
    connection: Connection,
    *,
    on_verdict: Callable[[Message, bool], None],
    on_end: Callable[[list[Message], str], None],
    open_it: Callable[[Connection], Awaitable[Channel]] = open_channel,
) -> ConfirmedChannel:
    """Open a channel in confirm mode.

    Raises: BrokerUnavailable.
    """
    with broker_errors(connection.address):
        async with asyncio.timeout(ANSWER_TIMEOUT):
            channel = await open_it(connection)
            confirmed = ConfirmedChannel(connection, channel, on_verdict=on_verdict, on_end=on_end)
            await channel.confirm_delivery()
    return confirmed
