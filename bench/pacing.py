"""Publish records at a steady rate, each with the time at which it was handed over."""

import asyncio
import time
from collections.abc import Sequence

from bench.queues import Queue
from common.rabbitmq.publishing.publisher import Outgoing, Publisher
from extractor.control import headers
from extractor.message import Message

_TICK = 0.002
_HEADROOM = 20_000
"""Unconfirmed messages at the most: confirms must never hold up the pace."""


async def publish_at(rate: float, queue: Queue, messages: Sequence[Message], *, load: str) -> dict[str, float]:
    """Publish so many a second, evenly. Returns: for each id the time it was handed over, in seconds since 1970."""
    handed: dict[str, float] = {}
    async with Publisher(queue.broker, max_unconfirmed=_HEADROOM, name="bench") as publisher:
        begun, sent = time.perf_counter(), 0
        while sent < len(messages):
            due = min(len(messages), int((time.perf_counter() - begun) * rate) + 1)
            if due > sent:
                now = time.time()
                stamped = headers(load, int(now * 1000))
                chunk = messages[sent:due]
                handed |= dict.fromkeys([each.id for each in chunk], now)
                await publisher.publish(
                    queue.exchange, [Outgoing(each.body, each.message_id, stamped) for each in chunk]
                )
                sent = due
            await asyncio.sleep(_TICK)
        await publisher.flush()
    return handed
