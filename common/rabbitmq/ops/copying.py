"""Go once round a queue by copying: what stays is copied to its end, so that all stand as before afterwards.

Only in a queue that is strictly first in, first out. At the first sign that it is not, this stops.
"""

import asyncio

from common.errors import BrokerUnavailable
from common.rabbitmq.condition import Condition
from common.rabbitmq.connection import Connection
from common.rabbitmq.ops.fates import Drop, Judge, Keep, OnDone, Send
from common.rabbitmq.ops.outgoing import Outgoing, Taken
from common.rabbitmq.ops.patience import STALL, patience
from common.rabbitmq.ops.queue_reader import StoredLetter, Taking
from common.rabbitmq.ops.sightings import Sightings


def sign_of_disorder(letter: StoredLetter, sightings: Sightings, *, has_priorities: bool) -> str:
    """Why the order of a queue that holds this letter can't be relied on; empty if nothing says so. Pure.

    `has_priorities`: the broker's quorum queues do, since RabbitMQ 4.0.
    """
    if (
        has_priorities and letter.properties.priority
    ):  # the highest come first: before anything is copied, or as soon as one arrives
        return "letters in it have priorities"
    if sightings.may_be_a_copy(letter):
        return "a copy came before the end, or a letter is in it twice"
    return ""


class Copying:
    """One pass that copies, and takes at most as many letters as the queue held at its beginning."""

    def __init__(
        self,
        connection: Connection,
        judge: Judge,
        sightings: Sightings,
        outgoing: Outgoing,
        *,
        total: int,
        window: int,
        pace: float,
        on_done: OnDone,
    ) -> None:
        self._connection, self._judge, self._sightings, self._outgoing = connection, judge, sightings, outgoing
        self._total, self._window, self._pace, self._on_done = total, window, pace, on_done
        self._unsettled: dict[int, Taken] = {}
        self._done: set[int] = set()
        self._taken = self._finished = self._acknowledged = 0
        self.disorder = ""
        """Why the order can't be relied on; empty while it can."""
        self.judged = 0

    async def run(self, letters: Taking, condition: Condition) -> list[Taken]:
        """Go on to the end, or to the first sign of disorder.

        Returns: the letters that are still held then; those that were judged count as copied.
        Raises: BrokerUnavailable.
        """
        while self._finished < self._total and not (self.disorder and not self._outgoing.pending):
            await self._work_comes(letters, condition)
            await self._take(letters)
            self._hear()
            await self._outgoing.write()  # copies of what other queues refused
            if not self.disorder:
                # Each acknowledgement brings a letter, and beyond the last come the copies: those are left alone.
                await self._acknowledge(letters, min(self._finished, self._total - self._window))
        await letters.cancel()  # or each acknowledgement would bring a letter
        await self._acknowledge(letters, self._finished)
        for number in sorted(self._done):
            await letters.acknowledge_one(number)
        return [self._unsettled[number] for number in sorted(self._unsettled)]

    async def _work_comes(self, letters: Taking, condition: Condition) -> None:
        """Wait for something to do; if nothing comes, see whether somebody else has taken what is missing."""
        async with patience(self._connection):
            while True:
                try:
                    async with asyncio.timeout(STALL):
                        await condition.until(lambda: letters.over or self._is_work(letters))
                    break
                except TimeoutError:
                    if not self._outgoing.pending and not await letters.waiting():
                        self.disorder = "others take letters from it"
                        return
        if letters.over:
            raise BrokerUnavailable(f"RabbitMQ at {self._connection.address}: {letters.over}")

    def _is_work(self, letters: Taking) -> bool:
        outgoing = self._outgoing
        heard = outgoing.failure or outgoing.refused or outgoing.done
        return bool(heard or (letters.has_arrived and not self.disorder))

    async def _take(self, letters: Taking) -> None:
        while not self._outgoing.failure and not self.disorder and self._taken < self._total:
            if (letter := letters.take()) is None:
                break
            self._taken += 1
            self._unsettled[self._taken] = taken = Taken(self._taken, letter)
            has_priorities = self._connection.broker_version >= (4, 0)
            self.disorder = sign_of_disorder(letter, self._sightings, has_priorities=has_priorities)
            if not self.disorder:
                await self._decide(taken)
        await self._outgoing.write()

    async def _decide(self, taken: Taken) -> None:
        fate = self._judge(taken.letter)
        self.judged += 1
        taken = self._unsettled[taken.number] = taken._replace(fate=fate)
        if isinstance(fate, Drop):
            self._settle(taken.number)
            return
        if not isinstance(fate, Send):
            self._sightings.copied(taken.letter)
        self._outgoing.put(taken)
        if isinstance(fate, Send) and self._pace:
            await self._outgoing.write()
            await asyncio.sleep(self._pace)

    def _hear(self) -> None:
        """See what the broker has said, and how many letters are done without a gap."""
        while self._outgoing.refused:
            self._keep(self._outgoing.refused.popleft())
        for number in self._outgoing.done:
            self._settle(number)
        self._outgoing.done.clear()
        while (self._finished + 1) in self._done:
            self._finished += 1
            self._done.remove(self._finished)
        self._on_done(self._finished, self._total)

    def _keep(self, refused: Taken) -> None:
        """Keep a letter that its queue did not take; one whose very copy was refused is held from now on."""
        if not isinstance(refused.fate, Send):
            self.disorder = self.disorder or "it takes no copies"
            return
        self._sightings.copied(refused.letter)
        if not self.disorder:
            self._outgoing.put(refused._replace(fate=Keep()))

    def _settle(self, number: int) -> None:
        del self._unsettled[number]
        self._done.add(number)

    async def _acknowledge(self, letters: Taking, number: int) -> None:
        if number > self._acknowledged:
            self._acknowledged = number
            await letters.acknowledge(number)
