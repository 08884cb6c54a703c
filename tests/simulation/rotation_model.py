"""A model of a dead-letter queue for the tool that goes through one.

It has priorities, expiry, other consumers, and connections that are cut. `common.rabbitmq.ops.rotation` runs unchanged,
on a clock that jumps. A seed draws the queue, the fates of its letters, and what happens meanwhile.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pamqp.commands import Basic

from common.delivery import Properties
from common.errors import BrokerUnavailable
from common.rabbitmq.ops import outgoing, queue_reader, rotation
from common.rabbitmq.ops.fates import Drop, Fate, Judge, Keep, Send
from common.rabbitmq.ops.queue_reader import StoredLetter
from common.rabbitmq.publishing.confirms import Message
from common.settings.programs import BrokerSettings
from tests.virtual_time import VirtualTimeLoop

QUEUE, MAIN = "letters", "main"
Wrap = Callable[[Judge], Judge]


@dataclass(slots=True)
class Stored:
    """One message in the queue."""

    place: int
    """Of two that are ready and of one priority, the lower goes first."""
    letter: StoredLetter
    expires: float
    returned: int = 0

    @property
    def id(self) -> str:
        return str(self.letter.properties.headers["x-spindle-id"])


@dataclass(slots=True)
class Story:
    """What a seed has drawn."""

    rng: random.Random
    letters: int
    priorities: bool
    ttl: float
    others: bool
    cuts: bool
    refuses: bool
    twins: bool
    window: int

    @classmethod
    def draw(cls, seed: int) -> "Story":
        rng = random.Random(seed)

        def one_in(n: int) -> bool:
            return rng.randrange(n) == 0

        return cls(
            rng,
            rng.choice((1, 3, 20, 90)),
            one_in(3),
            rng.uniform(0.2, 3.0) if one_in(3) else 0.0,
            one_in(3),
            one_in(4),
            one_in(8),
            one_in(4),
            rng.choice((1, 2, 8, 64)),
        )


@dataclass(slots=True)
class Queue:
    """The queue, and where its letters have gone."""

    story: Story
    ready: list[Stored] = field(default_factory=list)
    places: int = 0
    gone: Counter[str] = field(default_factory=Counter)
    """By id: what expired, or was taken by somebody else."""
    main: Counter[str] = field(default_factory=Counter)
    channels: "list[Channel]" = field(default_factory=list)
    confirmed: "list[Confirmed]" = field(default_factory=list)
    limit: int = 20

    def push(self, letter: StoredLetter) -> None:
        ttl = self.story.ttl
        now = asyncio.get_running_loop().time()
        self.places += 1
        # Where time differs between letters, as it does while they trickle in.
        expires = now + self.story.rng.uniform(ttl / 2, ttl) if ttl and self.story.rng.random() < 0.5 else float("inf")
        self.ready.append(Stored(self.places, letter, expires))

    def put_back(self, stored: Stored) -> None:
        stored.returned += 1
        if stored.returned > self.limit:
            raise AssertionError(f"letter {stored.id} met the delivery limit")
        self.ready.append(stored)

    def pull(self) -> Stored | None:
        """The next that has not expired: only at the head is that seen."""
        while self.ready:
            head = min(self.ready, key=self._rank)
            self.ready.remove(head)
            if head.expires > asyncio.get_running_loop().time():
                return head
            self.gone[head.id] += 1
        return None

    def _rank(self, stored: Stored) -> tuple[int, int]:
        priority = stored.letter.properties.priority or 0
        return (-priority if self.story.priorities else 0, stored.place)

    def deliver(self) -> None:
        for channel in self.channels:
            channel.deliver()

    def cut(self) -> None:
        """Lose every connection of ours."""
        for channel in [*self.channels]:
            channel.end("cut")
        for confirmed in self.confirmed:
            confirmed.end()
        self.confirmed.clear()


class Connection:
    """What the tool asks of one."""

    broker_version = (4, 3)

    address = "model"

    def __init__(self) -> None:
        self.unblocked = asyncio.Event()
        self.unblocked.set()

    def pause_reading(self) -> None:
        """The model's letters are few."""

    def resume_reading(self) -> None:
        """The same."""


class Channel:
    """A channel that consumes."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.on_delivery: Callable[[int, Any, bytes], None] = lambda *_: None
        self.on_consumer_cancel_callbacks: set[Any] = set()
        self._on_end: list[Callable[[str], None]] = []
        self._credit: dict[str, int] = {}
        self._unacked: dict[int, tuple[str, Stored]] = {}
        self._tag = self._prefetch = 0
        self._closed = False
        queue.channels.append(self)

    def on_end(self, call: Callable[[str], None]) -> None:
        self._on_end.append(call)

    async def basic_qos(self, prefetch_count: int) -> None:
        self._prefetch = prefetch_count

    async def basic_consume(self, _queue: str, _call: Any, consumer_tag: str) -> None:
        self._credit[consumer_tag] = self._prefetch
        self._soon(self.deliver)

    async def basic_cancel(self, consumer_tag: str) -> None:
        del self._credit[consumer_tag]
        await asyncio.sleep(0)

    async def queue_declare(self, _queue: str, passive: bool) -> Any:
        assert passive
        await asyncio.sleep(self._queue.story.rng.uniform(0.0, 0.01))
        self._check()
        return type("Ok", (), {"message_count": len(self._queue.ready)})

    async def basic_ack(self, number: int, multiple: bool = False, wait: bool = True) -> None:
        assert not wait
        self._check()
        acked = [each for each in self._unacked if each <= number] if multiple else [number]
        for each in acked:
            tag, _ = self._unacked.pop(each)
            if tag in self._credit:
                self._credit[tag] += 1
        self._soon(self.deliver)

    async def close(self) -> None:
        self.end("closed")

    def end(self, reason: str) -> None:
        """Give back what is not acknowledged."""
        if self._closed:
            return
        self._closed = True
        self._queue.channels.remove(self)
        for _, stored in self._unacked.values():
            self._queue.put_back(stored)
        for call in self._on_end:
            call(reason)

    def deliver(self) -> None:
        for tag, credit in self._credit.items():
            while not self._closed and credit and (stored := self._queue.pull()) is not None:
                credit -= 1
                self._tag += 1
                self._unacked[self._tag] = (tag, stored)
                self._arrive(self._tag, stored)
            self._credit[tag] = credit

    def _arrive(self, number: int, stored: Stored) -> None:
        properties = stored.letter.properties
        count = {"x-delivery-count": stored.returned} if stored.returned else {}
        wire = Basic.Properties(headers={**properties.headers, **count}, priority=properties.priority)
        self.on_delivery(number, wire, stored.letter.body)

    def _check(self) -> None:
        if self._closed:
            raise BrokerUnavailable("cut")

    def _soon(self, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(self._queue.story.rng.uniform(0.0, 0.02), call)


class Confirmed:
    """A channel in confirm mode."""

    def __init__(self, queue: Queue, on_verdict: Callable[[Message, bool], None], on_end: Callable[..., None]) -> None:
        self._queue, self._on_verdict, self._on_end = queue, on_verdict, on_end
        self._over = False
        queue.confirmed.append(self)

    async def write(self, outbox: deque[Message]) -> None:
        while outbox:
            if self._over:
                raise BrokerUnavailable("cut")
            rng = self._queue.story.rng
            asyncio.get_running_loop().call_later(rng.uniform(0.0, 0.03), self._take, outbox.popleft())
        await asyncio.sleep(0)

    def end(self) -> None:
        self._over = True
        self._on_end([], "cut")

    def _take(self, message: Message) -> None:
        """The broker may have a message of which it can't tell any more."""
        story = self._queue.story
        taken = not (story.refuses and story.rng.random() < 0.1)
        if taken and message.routing_key == QUEUE:
            self._queue.push(StoredLetter(message.body, message.properties))
            self._queue.deliver()
        elif taken:
            self._queue.main[str(message.properties.headers["x-spindle-id"])] += 1
        if not self._over:
            self._on_verdict(message, taken)


def letter_of(number: int, priority: int | None) -> StoredLetter:
    """Each has its own number, id, body and headers."""
    headers = {"x-spindle-letter": f"{number:016x}", "x-spindle-id": str(number), "x-other": f"of {number}"}
    return StoredLetter(f"body {number}".encode(), Properties(headers=headers, priority=priority))


async def run(story: Story, wrap: Wrap) -> list[str]:
    """Go through a queue, again where it was cut off. Returns: what was violated."""
    queue, rng = Queue(story), story.rng
    letters: dict[str, StoredLetter] = {}
    for number in range(story.letters):
        priority = rng.choice((None, 0, 9)) if story.priorities else None
        letters[str(number)] = letter_of(number, priority)
        queue.push(letters[str(number)])
        if story.twins and rng.random() < 0.2:
            queue.push(letters[str(number)])
    fates = {each: rng.choice(("keep", "keep", "keep", "drop", "send")) for each in letters}
    judged: Counter[str] = Counter()

    def judge(letter: StoredLetter) -> Fate:
        each = str(letter.properties.headers["x-spindle-id"])
        judged[each] += 1
        if fates[each] == "drop":
            return Drop()
        return Send(MAIN, letter.properties, lambda _: None) if fates[each] == "send" else Keep()

    with pytest.MonkeyPatch.context() as patch:
        _stand_in(patch, queue)
        meanwhile = asyncio.create_task(_happen(queue))
        try:
            await _until_done(queue, wrap(judge), judged)
        finally:
            meanwhile.cancel()
            await asyncio.wait([meanwhile])
        if story.cuts:  # what was on its way then has arrived after the pass had counted
            await _until_done(queue, wrap(judge), judged)
    return [*_violations(queue, letters, fates, judged)]


async def _until_done(queue: Queue, judge: Judge, judged: Counter[str]) -> None:
    """Go through the queue, again wherever it was cut off."""
    while True:
        judged.clear()
        try:
            async with asyncio.timeout(600.0):
                await rotation.go_through(_NO_BROKER, QUEUE, judge, rotation.Way(window=queue.story.window))
        except BrokerUnavailable:
            queue.cut()
        else:
            return


async def _happen(queue: Queue) -> None:
    """Whatever else there is, for a while."""
    story = queue.story
    rng = story.rng
    for _ in range(60):
        await asyncio.sleep(rng.uniform(0.0, 0.1))
        if story.cuts and rng.random() < 0.05:
            queue.cut()
        if story.others and (stored := queue.pull()) is not None:
            if rng.random() < 0.5:
                try:
                    await asyncio.sleep(rng.uniform(0.0, 0.3))
                finally:
                    queue.put_back(stored)
            else:
                queue.gone[stored.id] += 1
            queue.deliver()


_NO_BROKER: Any = BrokerSettings.model_construct()


def _stand_in(patch: pytest.MonkeyPatch, queue: Queue) -> None:
    @asynccontextmanager
    async def connected(_: object, name: str) -> AsyncIterator[Connection]:
        yield Connection()

    @asynccontextmanager
    async def alone(*_: object) -> AsyncIterator[None]:
        yield

    async def lengths(_: object, names: list[str]) -> dict[str, int]:
        return {QUEUE: len(queue.ready)}

    async def open_channel(_: object) -> Channel:
        return Channel(queue)

    async def open_confirmed(_: object, *, on_verdict: Any, on_end: Any) -> Confirmed:
        return Confirmed(queue, on_verdict, on_end)

    patch.setattr(rotation, "connected", connected)
    patch.setattr(rotation, "_alone_with", alone)
    patch.setattr(rotation, "queue_lengths", lengths)
    patch.setattr(queue_reader, "open_channel", open_channel)
    patch.setattr(outgoing, "open_confirmed", open_confirmed)


def _violations(
    queue: Queue, letters: dict[str, StoredLetter], fates: dict[str, str], judged: Counter[str]
) -> list[str]:
    story, found = queue.story, []
    left: dict[str, list[StoredLetter]] = {}
    for stored in queue.ready:
        left.setdefault(stored.id, []).append(stored.letter)
    for each, letter in letters.items():
        is_there = each in left or each in queue.gone or (fates[each] == "send" and each in queue.main)
        if not is_there and fates[each] != "drop":
            found.append(f"letter {each} is lost")
        if any(_shown(one) != _shown(letter) for one in left.get(each, [])):
            found.append(f"letter {each} is not what it was")
        if judged[each] > 1 and not story.twins and not story.cuts:
            found.append(f"letter {each} was judged {judged[each]} times")
        if not (story.ttl or story.others or story.cuts) and not judged[each]:
            found.append(f"letter {each} was not judged")
        if len(left.get(each, [])) > 1 and fates[each] == "keep" and not (story.others or story.refuses):
            found.append(f"letter {each} is left twice")
    return found


def _shown(letter: StoredLetter) -> object:
    return letter.body, dict(letter.properties.headers), letter.properties.priority


def violations(seed: int, wrap: Wrap = lambda judge: judge) -> list[str]:
    """What one seed's story violates."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run(Story.draw(seed), wrap))
