"""How long those who keep a connection wait before the next one."""

import asyncio

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
