"""A channel that calls plain functions: no task per delivery, no future per confirm.

aiormq starts a task for every message that arrives and keeps a future for every message that leaves. At thousands a
second that is most of the work, so three of its frame hooks are replaced here, and only here.
"""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

import aiormq.channel
from pamqp import commands

from common.rabbitmq.connection import ANSWER_TIMEOUT, Connection

Properties = commands.Basic.Properties
OnDelivery = Callable[[int, Properties, bytes], None]
OnConfirm = Callable[[int, bool, bool], None]
OnReturn = Callable[[commands.Basic.Return, Properties, bytes], None]


def _ignore(*_: object) -> None:
    return


class Channel(aiormq.channel.Channel):
    """A channel whose events go to functions, in the order of their frames."""

    def __init__(self, connection: Connection, number: int) -> None:
        # Confirms are selected by the publisher itself; aiormq's book-keeping for them stays off. Without a limit on
        # its buffer of frames all that one read of the socket brought arrives as one burst; with it, three messages.
        super().__init__(connection, number, publisher_confirms=False, frame_buffer=0)
        self.on_delivery: OnDelivery = _ignore
        """Delivery tag, properties, body."""
        self.on_confirm: OnConfirm = _ignore
        """Publishing sequence number, whether all before it are meant too, whether taken (or refused)."""
        self.on_return: OnReturn = _ignore
        """What could not be routed; its confirm follows."""

    @property
    def is_over(self) -> bool:
        """Whether nothing can be sent on it any more."""
        return self.is_closed or self.connection.is_closed

    def on_end(self, call: Callable[[str], None]) -> None:
        """Call a function, with the reason, once the channel or its connection has ended."""
        for closing in (self.closing, self.connection.closing):
            closing.add_done_callback(lambda future: call(_reason(future)))

    async def _on_deliver_frame(self, frame: commands.Basic.Deliver) -> None:
        properties, body = await self._read()
        if not frame.redelivered and properties.headers:
            # Of a former life: whoever moves messages from queue to queue takes the other queue's count along.
            properties.headers.pop("x-delivery-count", None)
        self.on_delivery(frame.delivery_tag or 0, properties, body)

    async def _on_return_frame(self, frame: commands.Basic.Return) -> None:
        properties, body = await self._read()
        self.on_return(frame, properties, body)

    async def _on_confirm_frame(self, frame: commands.Basic.Ack | commands.Basic.Nack | commands.Basic.Reject) -> None:
        self.on_confirm(
            frame.delivery_tag or 0, bool(getattr(frame, "multiple", False)), isinstance(frame, commands.Basic.Ack)
        )

    async def _read(self) -> tuple[Properties, bytes]:
        """The header and the body that follow a method frame."""
        header: Any = await self._get_frame()  # the protocol leaves no other frame in between
        parts: list[bytes] = []
        missing = header.body_size
        while missing > 0:
            part: Any = await self._get_frame()
            parts.append(part.value)
            missing -= len(part.value)
        return header.properties, parts[0] if len(parts) == 1 else b"".join(parts)


async def open_channel(connection: Connection) -> Channel:
    """Open a channel with the next free number."""
    number = next(number for number in count(1) if number not in connection.channels)
    channel = Channel(connection, number)
    connection.channels[number] = channel
    async with asyncio.timeout(ANSWER_TIMEOUT):
        await channel.open()
    return channel


async def uncalled(_: object) -> None:
    """Stand in for the callback per message that aiormq asks for: a `Channel` does without."""


def _reason(future: "asyncio.Future[object]") -> str:
    if future.cancelled():
        return "closed"
    error = future.exception()
    return (str(error.args[-1]) if error and error.args else "") or "closed"
