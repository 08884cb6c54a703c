"""Put letters into a queue, for example back into the one from which they were exported."""

from collections.abc import Sequence

from common.errors import BrokerUnavailable
from common.rabbitmq.condition import Condition
from common.rabbitmq.connection import connected
from common.rabbitmq.ops.fates import Keep
from common.rabbitmq.ops.outgoing import Outgoing, Taken
from common.rabbitmq.ops.patience import patience
from common.rabbitmq.ops.queue_reader import StoredLetter
from common.settings.programs import BrokerSettings

_AT_ONCE = 64
"""Letters on their way at a time."""


async def put_all(broker: BrokerSettings, queue: str, letters: Sequence[StoredLetter]) -> int:
    """Put letters into a queue, in their order, each confirmed.

    Returns: how many the queue has not taken, because it is missing or full.
    Raises: BrokerUnavailable, with some of them put; StartRefused.
    """
    refused = 0
    async with connected(broker, name="spindle dead-letters import") as connection:
        condition = Condition()
        outgoing = Outgoing(connection, queue, condition)
        await outgoing.open()
        for first in range(0, len(letters), _AT_ONCE):
            for number, letter in enumerate(letters[first : first + _AT_ONCE]):
                outgoing.put(Taken(number, letter, Keep()))
            await outgoing.write()
            async with patience(connection):
                await condition.until(lambda: outgoing.failure or not outgoing.pending)
            if outgoing.failure:
                raise BrokerUnavailable(f"{queue}: {outgoing.failure}")
            refused += len(outgoing.refused)
            outgoing.refused.clear()
    return refused
