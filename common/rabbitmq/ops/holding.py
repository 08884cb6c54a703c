"""Hold every letter of a queue at the same time, whatever its order: none can be met twice unless it is there twice.

What stays goes back when the channel closes, and the broker counts it as delivered once more. Beyond a queue's delivery
limit that would be the letter's end: so one that has been given back often is copied, and its copy counts from 0.
"""

import asyncio
from contextlib import suppress

from common.errors import BrokerUnavailable
from common.rabbitmq.condition import Condition
from common.rabbitmq.connection import Connection
from common.rabbitmq.ops.fates import Drop, Judge, Keep, OnDone, Send
from common.rabbitmq.ops.outgoing import Outgoing, Taken
from common.rabbitmq.ops.patience import STALL, patience
from common.rabbitmq.ops.queue_reader import Taking
from common.rabbitmq.ops.sightings import Sighting, Sightings, deliveries_of

_AT_ONCE = 65_535
"""Letters that one consumer may hold: the most that AMQP can say. A second one would get its own in another order."""

_ENDLESS = 4, 10_000
"""A queue that grows faster than it is gone through has no end: a pass ends at so many times its letters, and so many
more. Copies and twins are less."""

RENEWED_AT = 10
"""Times given back at which a letter is copied: half of the limit that RabbitMQ 4 has for queues without one."""


class Hold:
    """One pass that holds what it meets. `expected`: letters that nobody has judged yet, as far as is known;
    `renewed_at`: None if nothing is to be written."""

    def __init__(
        self,
        connection: Connection,
        judge: Judge,
        sightings: Sightings,
        outgoing: Outgoing,
        *,
        expected: int,
        renewed_at: int | None,
        pace: float,
        on_done: OnDone,
    ) -> None:
        self._connection, self._judge, self._sightings, self._outgoing = connection, judge, sightings, outgoing
        self._expected, self._renewed_at, self._pace, self._on_done = expected, renewed_at, pace, on_done
        self._met, self._missing = 0, expected
        self.twins = 0
        """Letters of which another was held, and that were dropped for it."""

    async def run(self, letters: Taking, condition: Condition, carried: list[Taken]) -> None:
        """Go on until the queue has nothing more to give; `carried` are held already.

        Raises: BrokerUnavailable.
        """
        for taken in carried:
            await self._meet(taken, letters)
        await letters.consume(_AT_ONCE)
        times, more = _ENDLESS
        while self._met < self._expected * times + more and await self._comes(letters, condition):
            while (letter := letters.take()) is not None:
                await self._meet(Taken(letters.taken, letter), letters)
            await self._hear(letters)
            await self._outgoing.write()  # else a channel that has ended would be work forever

    async def _comes(self, letters: Taking, condition: Condition) -> bool:
        """Wait for something to do. Returns: False if there is nothing more.

        Raises: BrokerUnavailable if something should come, and does not.
        """
        outgoing, patient = self._outgoing, True
        async with patience(self._connection):
            while not self._is_work(letters):
                waiting = await letters.waiting()
                if waiting and letters.is_full:
                    await letters.consume(_AT_ONCE)
                if not (waiting or outgoing.pending or self._is_work(letters)):
                    # In a cluster a letter may come from another node than the answer did.
                    if not (patient and self._missing):
                        return False
                    patient = False
                with suppress(TimeoutError):
                    async with asyncio.timeout(STALL):
                        await condition.until(lambda: self._is_work(letters))
        if letters.over:
            raise BrokerUnavailable(f"RabbitMQ at {self._connection.address}: {letters.over}")
        return True

    def _is_work(self, letters: Taking) -> bool:
        outgoing = self._outgoing
        return bool(letters.over or letters.has_arrived or outgoing.failure or outgoing.done or outgoing.refused)

    async def _meet(self, taken: Taken, letters: Taking) -> None:
        self._met += 1
        sighting = self._sightings.meet(taken.letter)
        if sighting is Sighting.FIRST:
            self._missing = max(0, self._missing - 1)
            self._on_done(self._expected - self._missing, self._expected)
            await self._decide(taken, letters)
        elif sighting is Sighting.TWIN and self._renewed_at is not None:
            self.twins += 1
            await letters.acknowledge_one(taken.number)
        else:
            self._hold(taken)
        await self._outgoing.write()

    async def _decide(self, taken: Taken, letters: Taking) -> None:
        fate = self._judge(taken.letter)
        if isinstance(fate, Drop):
            await letters.acknowledge_one(taken.number)
        elif isinstance(fate, Send):
            self._outgoing.put(taken._replace(fate=fate))
            await self._outgoing.write()
            await asyncio.sleep(self._pace)
        else:
            self._hold(taken)

    def _hold(self, taken: Taken) -> None:
        if self._renewed_at is not None and deliveries_of(taken.letter) >= self._renewed_at:
            self._sightings.copied(taken.letter)
            self._outgoing.put(taken._replace(fate=Keep()))
        else:
            self._sightings.held(taken.letter)

    async def _hear(self, letters: Taking) -> None:
        while self._outgoing.refused:  # it is held as it is
            self._sightings.held(self._outgoing.refused.popleft().letter)
        while self._outgoing.done:
            await letters.acknowledge_one(self._outgoing.done.pop())
