"""How an epoch's deliveries are read and its acknowledgements written: the one thing in which the two sources differ.

Here both go through aiormq. `fast.reader` takes deliveries from the socket, and writes acknowledgements to it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Protocol

from common.delivery import Delivery, Epoch, load_of
from common.rabbitmq.channel import Channel, Properties
from common.rabbitmq.connection import Connection
from common.rabbitmq.consuming.ack_ledger import Ack
from common.rabbitmq.properties import is_number, translated

OnBurst = Callable[[list[Delivery]], None]
OnFailure = Callable[[str], None]


class DeliveryReader(Protocol):
    """Reads deliveries and writes acknowledgements, for one epoch."""

    connection_type: ClassVar[type[Connection]]
    """The class of connection that it needs."""

    def __init__(self, connection: Connection, channel: Channel) -> None: ...

    def begin(self, epoch: Epoch, *, on_burst: OnBurst, on_failure: OnFailure) -> None:
        """Expect deliveries. `on_failure`: called once, with the reason, if they can't be read any more."""

    async def acknowledge(self, unsent: deque[Ack]) -> None:
        """Write acknowledgements in their order. If this is cancelled, those that were not written are still there."""

    def leave(self) -> None:
        """From now on write acknowledgements behind all that aiormq has been given to send."""


class AiormqReader:
    """Aiormq reads the frames and writes them."""

    connection_type: ClassVar[type[Connection]] = Connection

    def __init__(self, connection: Connection, channel: Channel) -> None:
        self._channel = channel
        self._clock = asyncio.get_running_loop().time

    def begin(self, epoch: Epoch, *, on_burst: OnBurst, on_failure: OnFailure) -> None:
        """Have the channel give each delivery here."""

        def arrive(tag: int, properties: Properties, body: bytes) -> None:
            on_burst([_delivery(tag, epoch, body, self._clock(), properties)])

        self._channel.on_delivery = arrive

    async def acknowledge(self, unsent: deque[Ack]) -> None:
        """Give aiormq one after the other."""
        while unsent:
            await self._channel.basic_ack(unsent[0].tag, multiple=unsent[0].multiple, wait=False)
            unsent.popleft()

    def leave(self) -> None:
        """Nothing: they always go this way."""


def _delivery(tag: int, epoch: Epoch, body: bytes, received: float, properties: Properties) -> Delivery:
    headers = properties.headers or {}
    published = headers.get("timestamp_in_ms")
    count = headers.get("x-delivery-count")
    return Delivery(
        tag,
        epoch,
        body,
        received,
        load_of(headers.get("load")),
        published if is_number(published) else None,
        count if is_number(count) else 0,
        partial(translated, properties),
        getattr(properties, "size", 0),
    )
