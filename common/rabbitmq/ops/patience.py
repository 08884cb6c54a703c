"""Wait for the broker, but not forever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common.errors import BrokerUnavailable
from common.rabbitmq.connection import Connection

PATIENCE = 30.0
"""Seconds without a letter or a confirm after which a pass is given up."""

STALL = 1.0
"""Seconds without anything after which the broker is asked whether there is more."""


@asynccontextmanager
async def patience(connection: Connection) -> AsyncIterator[None]:
    """Bound what the block waits for.

    Raises: BrokerUnavailable.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError as error:
        blocked = not connection.unblocked.is_set()
        what = "the broker takes no messages (memory or disk alarm)" if blocked else "nothing came"
        raise BrokerUnavailable(f"RabbitMQ at {connection.address}: {what}, for {PATIENCE:g} s") from error
