"""Publish a run's records bit by bit over some seconds, and count what the broker has confirmed."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from common.kinds import KINDS, Names
from common.rabbitmq.publishing.publisher import Outgoing, Publisher, PublishFailed
from extractor.control import file_complete, headers
from extractor.loads import messages
from extractor.synthetic.synthetic import SyntheticLoad
from tests.chaos.drawing import SECONDS, Story
from tests.chaos.planted import Planted, plant
from tests.servers.amqp import settings

MARK = "planted-secret-text"
"""In every bad record."""
_SLICES = 40


class Sent(msgspec.Struct, frozen=True, gc=False):
    """One message to publish."""

    kind: str
    body: bytes
    load: str


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that a run publishes, in order, and the loads that it is made of."""

    loads: tuple[SyntheticLoad, ...]
    sent: Sequence[Sent]
    planted: Sequence[Planted]
    ids: dict[str, list[str]]
    """Of the good records, by kind."""
    texts: list[str]
    """Pieces of good records that no log may show."""


def make(story: Story) -> Material:
    """Make a run's records."""
    rng = random.Random(f"records {story.dice}")
    count = story.records // story.months
    seed = rng.randrange(2**31)
    loads = tuple(SyntheticLoad(count, seed, month=month) for month in range(story.months))
    sent: list[Sent] = []
    for load in loads:
        of_load = [Sent(kind, message.body, load.date) for kind in KINDS for message in messages(load, kind)]
        rng.shuffle(of_load)
        sent += of_load
    ids = {kind: sorted({message.id for load in loads for message in messages(load, kind)}) for kind in KINDS}
    texts = _texts(sent)
    planted = plant(story.bad, rng, MARK)
    for bad in planted:
        place = rng.randrange(len(sent) + 1)
        date = sent[min(place, len(sent) - 1)].load
        sent.insert(place, Sent(bad.kind, bad.body, date))
    return Material(loads, sent, planted, ids, texts)


def _texts(sent: Sequence[Sent]) -> list[str]:
    """Titles, names and notes long enough to be nobody else's words."""
    texts: set[str] = set()
    for each in sent[::7]:
        record = msgspec.json.decode(each.body)
        texts |= {str(record.get(field) or "")[:60] for field in ("title", "name", "realname", "notes", "profile")}
    return [text for text in texts if len(text) >= 14]


class Producer:
    """Publishes in slices; between two of them it can be held."""

    def __init__(self, url: str, names: Names, material: Material) -> None:
        self._url, self._names, self._material = url, names, material
        self.between = asyncio.Lock()
        """Whoever holds it sees nothing published, and everything before confirmed."""
        self.published = 0
        self.is_done = False
        self._publisher: Publisher | None = None

    async def run(self) -> None:
        """Publish everything, and say of each load and kind that it is complete."""
        loop, sent = asyncio.get_running_loop(), self._material.sent
        size = -(-len(sent) // _SLICES)
        began = loop.time()
        try:
            for number, start in enumerate(range(0, len(sent), size)):
                await asyncio.sleep(max(0.0, began + number * SECONDS / _SLICES - loop.time()))  # the pace
                async with self.between:
                    await self._publish(sent[start : start + size])
                self.published = min(start + size, len(sent))
            async with self.between:
                await self._complete()
        finally:
            await self._leave()
        self.is_done = True

    async def _publish(self, slice_: Sequence[Sent]) -> None:
        while True:
            try:
                publisher = await self._connected()
                for each in slice_:
                    shared = headers(each.load, time.time_ns() // 1_000_000)
                    await publisher.publish(self._names.exchange(each.kind), [Outgoing(each.body, "", shared)])
                await publisher.flush()
            except PublishFailed:  # the broker was away for longer than it is patient: all of it again
                await self._leave()
            else:
                return

    async def _complete(self) -> None:
        for load in self._material.loads:
            for kind in KINDS:
                done = file_complete(kind=kind, load=load.date, total_processed=0, file=load.file_name(kind))
                publisher = await self._connected()
                await publisher.publish(self._names.exchange(kind), [done])
                await publisher.flush()

    async def _connected(self) -> Publisher:
        if self._publisher is None:
            publisher = Publisher(settings(self._url), max_unconfirmed=4000, name="chaos")
            self._publisher = await publisher.__aenter__()
        return self._publisher

    async def _leave(self) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            await publisher.__aexit__(None, None, None)
