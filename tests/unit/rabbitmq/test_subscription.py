"""What is owed to the broker when sending is cut short; everything else of an epoch is tested against brokers."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from common.delivery import Epoch
from common.rabbitmq.condition import Condition
from common.rabbitmq.consuming.reading import AiormqReader
from common.rabbitmq.consuming.subscription import Subscription
from tests.virtual_time import in_virtual_time


class Wire:
    """A channel whose frames leave only while it is open."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.sent: list[tuple[int, bool]] = []
        self.on_delivery: Callable[[int, Any, bytes], None]
        self.on_consumer_cancel_callbacks: set[object] = set()

    def on_end(self, callback: object) -> None:
        pass

    async def basic_ack(self, tag: int, *, multiple: bool, wait: bool) -> None:
        self.asked.set()
        await self.open.wait()
        self.sent.append((tag, multiple))

    async def close(self) -> None:
        pass


@in_virtual_time
async def test_acknowledgements_whose_sender_was_cancelled_are_sent_by_the_next() -> None:
    wire, epoch = Wire(), Epoch(1)
    connection = SimpleNamespace(address="broker:5672", heartbeat_timeout=60)
    subscription = Subscription(
        cast(Any, connection),
        cast(Any, wire),
        AiormqReader(cast(Any, connection), cast(Any, wire)),
        epoch,
        prefetch=10,
        max_bytes=1000,
        condition=Condition(),
    )
    for tag in range(1, 9):
        wire.on_delivery(tag, SimpleNamespace(headers=None), b"{}")
    deliveries = subscription.take()
    sender = asyncio.create_task(subscription.acknowledge())
    subscription.settle([deliveries[0], *deliveries[2:]])
    await wire.asked.wait()
    sender.cancel()
    await asyncio.wait([sender])

    wire.open.set()
    await subscription.finish()

    assert wire.sent == [(1, True), *((tag, False) for tag in range(3, 9))]
