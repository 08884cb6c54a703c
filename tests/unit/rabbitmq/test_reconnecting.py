"""How long those who keep a connection wait before the next one."""

import asyncio

from common.backoff import Backoff, Jitter, Strategy
from common.rabbitmq.reconnecting import Reconnecting
from tests.virtual_time import in_virtual_time


@in_virtual_time
async def test_after_a_connection_that_lasted_the_next_is_tried_at_once_again() -> None:
    reconnecting = Reconnecting(steady=10.0)
    for _ in range(20):  # now as long as two seconds
        reconnecting.begin()
        reconnecting.delay()

    reconnecting.begin()
    await asyncio.sleep(10.0)

    assert reconnecting.delay() <= 0.1


@in_virtual_time
async def test_the_next_is_tried_as_the_settings_say() -> None:
    reconnecting = Reconnecting(backoff=Backoff(Strategy.LINEAR, Jitter.NONE, base=1.0, cap=3.0))
    waits = []

    for _ in range(5):
        reconnecting.begin()
        waits.append(reconnecting.delay())

    assert waits == [1.0, 2.0, 3.0, 3.0, 3.0]
