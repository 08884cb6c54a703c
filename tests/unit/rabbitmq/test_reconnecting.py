"""What those who keep a connection say of an outage, and how long they wait in it."""

import asyncio

from common.rabbitmq.reconnecting import Reconnecting
from tests.virtual_time import in_virtual_time


def test_what_is_the_matter_is_said_once_for_as_long_as_it_is_the_same() -> None:
    reconnecting = Reconnecting()

    said = [reconnecting.is_news(complaint) for complaint in ("refused", "refused", "login", "refused")]

    assert said == [True, False, True, True]


def test_what_comes_back_after_a_connection_is_said_again() -> None:
    reconnecting = Reconnecting()
    reconnecting.is_news("refused")

    reconnecting.connected()

    assert reconnecting.is_news("refused")


@in_virtual_time
async def test_after_a_connection_that_lasted_the_next_is_tried_at_once_again() -> None:
    reconnecting = Reconnecting(steady=10.0)
    for _ in range(20):  # now as long as two seconds
        reconnecting.begin()
        reconnecting.delay()

    reconnecting.begin()
    await asyncio.sleep(10.0)

    assert reconnecting.delay() <= 0.1
