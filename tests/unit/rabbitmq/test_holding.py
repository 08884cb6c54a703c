"""A pass that holds every letter ends when it can't go on."""

import asyncio
from collections import deque
from typing import Any

import pytest

from common.delivery import Properties
from common.errors import BrokerUnavailable
from common.rabbitmq.condition import Condition
from common.rabbitmq.ops.fates import Fate, Send
from common.rabbitmq.ops.holding import Hold
from common.rabbitmq.ops.outgoing import Outgoing, Taken
from common.rabbitmq.ops.queue_reader import StoredLetter
from common.rabbitmq.ops.sightings import Sightings

ROUNDS = 1_000


class Letters:
    """A queue that has nothing more to give."""

    over = ""
    has_arrived = False
    is_full = False

    def __init__(self, outgoing: Outgoing) -> None:
        self.rounds = 0
        self._outgoing = outgoing

    async def consume(self, _: int) -> None:
        return

    async def waiting(self) -> int:
        self._outgoing._lose([], "ACCESS_REFUSED")
        return 0

    def take(self) -> None:
        self.rounds += 1
        assert self.rounds < ROUNDS, "it spins"

    async def acknowledge_one(self, _: int) -> None:
        return


class Channel:
    """One that takes whatever is written."""

    async def write(self, outbox: deque[Any]) -> None:
        outbox.clear()


class Connection:
    """Nothing of it is asked here."""

    address = "host:5672"

    def __init__(self) -> None:
        self.unblocked = asyncio.Event()


async def test_a_publishing_channel_that_ends_behind_the_last_letter_ends_the_pass() -> None:
    connection: Any = Connection()
    condition = Condition()
    outgoing = Outgoing(connection, "letters", condition)
    outgoing._channel = Channel()  # type: ignore[assignment]

    def judge(_: StoredLetter) -> Fate:
        return Send("elsewhere", Properties(), lambda _: None)

    hold = Hold(
        connection,
        judge,
        Sightings(),
        outgoing,
        expected=1,
        renewed_at=None,
        pace=0.0,
        on_done=lambda *_: None,
    )
    letters: Any = Letters(outgoing)

    with pytest.raises(BrokerUnavailable, match="ACCESS_REFUSED"):
        await hold.run(letters, condition, [Taken(1, StoredLetter(b"{}", Properties()))])
