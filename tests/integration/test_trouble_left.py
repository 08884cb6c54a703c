"""Whoever is cancelled while it waits for a broker says no more of it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from common.dead_letters import DeadLetter
from common.delivery import Delivery, Epoch, Properties
from common.errors import Reason, Refusal
from common.kinds import Service
from common.rabbitmq.access import BrokerAccess
from common.rabbitmq.consuming.fast.reader import FastReader
from common.rabbitmq.consuming.source import RabbitSource
from common.rabbitmq.publishing.dead_letters import DeadLetterPublisher
from common.rabbitmq.publishing.publisher import Publisher
from common.telemetry import trouble
from common.telemetry.metrics import KindMetrics
from tests.servers.amqp import new_names, settings

NOBODY = "amqp://127.0.0.1:1/"


async def publish() -> None:
    async with Publisher(settings(NOBODY), max_unconfirmed=1, name="test"):
        pass


async def set_aside() -> None:
    letters = DeadLetterPublisher(
        BrokerAccess(settings(NOBODY)), new_names(), Service.TABLEINATOR, on_confirmed=lambda _: None
    )
    delivery = Delivery(1, Epoch(1), b"{}", 0.0, None, None, 0, Properties)
    letters.put([DeadLetter(delivery, "artists", "1", Reason.REFUSED, Refusal("DataError", "22021", "no"))])
    await letters.run()


async def consume() -> None:
    await RabbitSource(
        BrokerAccess(settings(NOBODY)),
        new_names(),
        Service.TABLEINATOR,
        "artists",
        prefetch=10,
        max_bytes=1000,
        consumer_timeout=1800.0,
        metrics=KindMetrics(Service.TABLEINATOR, "artists"),
        reader=FastReader,
    ).run()


@pytest.mark.parametrize("wait", [publish, set_aside, consume])
async def test_nothing_is_said_after_a_cancellation(
    monkeypatch: pytest.MonkeyPatch, wait: Callable[[], Awaitable[None]]
) -> None:
    monkeypatch.setattr(trouble, "SAY_AGAIN", 0.05)
    with capture_logs() as lines:
        task = asyncio.ensure_future(wait())
        async with asyncio.timeout(10.0):
            while not lines:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        said = len(lines)
        await asyncio.sleep(0.3)

    assert task.cancelled()
    assert len(lines) == said
