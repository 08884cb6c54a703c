"""Whatever goes wrong in whatever order: the whole pipeline under random faults, on a virtual clock.

A seed decides everything: what is published, what the store and the broker do to it, when the process stops or dies and
begins again. A failure names its seed.
"""

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import pytest
import structlog

from common.batch import BatchLimits
from common.dead_letters import DeadLetter
from common.delivery import Delivery
from common.errors import BatchTooLarge, RecordsRefused, Refusal, SinkError, StoreUnavailable, WriteConflict
from common.evidence import FloodGuard
from common.metrics import REGISTRY, KindMetrics
from common.outage import Outage
from common.pipeline import Pipeline, PipelineSettings
from common.settlement import Ack
from common.sink import Outcomes
from tests.fakes import FakeDeadLetters, FakeRecord, FakeSink, FakeSource, body, project
from tests.virtual_time import in_virtual_time

SEEDS = 2000
SEEDS_PER_TEST = 100

KIND = "random"
REFUSAL = Refusal("FakeRefusal", "F0001", "no")

MOODS = ("fine", "fine", "away", "busy", "slow", "narrow", "mute")
"""Of the store: away; conflicts; slow; takes two records at the most; commits and its answer is lost."""
REFUSING = "refusing"
"""Refuses everything, as if it were the records' fault."""
ODD = "odd"
"""Refuses everything for an unknown reason, and not for long: longer would be evidence."""
BAD = ("unreadable", "refused", "named", "unknown")
"""Of a message: it can't be read, or the store refuses it, and names it, or does not say why."""


class Message:
    """What was published, and what is to become of it."""

    def __init__(
        self, number: int, body: bytes, *, record_id: str = "", load: str | None = None, fate: str = "stored"
    ) -> None:
        self.number, self.body, self.id, self.load, self.fate = number, body, record_id, load, fate

    @property
    def rank(self) -> tuple[str, int]:
        """Of two messages with one id, the higher one counts."""
        return self.load or "", self.number


class Publications:
    """The stream: few ids, so that versions meet; some of it unreadable, refused, or a control message."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._ids = [str(number) for number in range(1, rng.choice((8, 30, 200)))]
        self._versioned = rng.random() < 0.5
        self._faulty = rng.choice((0.0, 0.05, 0.15))
        self.all: dict[bytes, Message] = {}
        self.most_unknown = 1
        self._unknown = 0

    def next(self, *, good: bool = False) -> Message:
        """One more message."""
        rng, number = self._rng, len(self.all)
        if not good and rng.random() < 0.03:
            control = b'{"type":"file_complete","data_type":"artists","file":"%d"}' % number
            return self._add(Message(number, control, fate="handled"))
        fate = "stored"
        if not good and rng.random() < self._faulty:
            fate = rng.choice(BAD)
            if fate == "unknown":
                self._unknown += 1
                fate = fate if self._unknown <= self.most_unknown else "refused"
        record_id = rng.choice(self._ids)
        text = b"{%d" % number if fate == "unreadable" else body(record_id, str(number))
        load = rng.choice(("20260101", "20260201")) if self._versioned else None
        return self._add(Message(number, text, record_id=record_id, load=load, fate=fate))

    def _add(self, message: Message) -> Message:
        self.all[message.body] = message
        return message

    def of(self, records: Iterable[FakeRecord]) -> list[Message]:
        return [self.all[record.payload.encode()] for record in records]

    def best(self) -> dict[str, Message]:
        """Per id, what must be stored in the end."""
        best: dict[str, Message] = {}
        for message in self.all.values():
            if message.fate == "stored" and (message.id not in best or best[message.id].rank < message.rank):
                best[message.id] = message
        return best


class FaultySink(FakeSink):
    """A store with a mood, which changes."""

    def __init__(self, rng: random.Random, published: Publications) -> None:
        super().__init__()
        self._rng, self._published = rng, published
        self.mood = "fine"
        self.stored: set[bytes] = set()
        self.refused: set[str] = set()
        self._writing: set[str] = set()

    async def write(self, records: Sequence[FakeRecord]) -> Outcomes:
        ids = {record.id for record in records}
        assert len(ids) == len(records), "an id twice in a batch"
        assert not ids & self._writing, "two writers have the same id"
        self._writing |= ids
        try:
            outcomes = await super().write(records)
        finally:
            self._writing -= ids
        self.stored |= {record.payload.encode() for record in records}
        if self.mood == "mute" and self._rng.random() < 0.5:
            raise StoreUnavailable("the answer to the commit is lost")
        return outcomes

    async def _attempt(self, records: Sequence[FakeRecord]) -> None:
        await asyncio.sleep(self._rng.choice((0.0, 0.001, 0.2)) if self.mood == "slow" else 0.0)
        assert len(self.attempts) < 20_000, "it spins"
        await super()._attempt(records)
        if (error := self._answer(records)) is not None:
            raise error

    def _answer(self, records: Sequence[FakeRecord]) -> SinkError | None:
        if self.mood == "away":
            return StoreUnavailable("away")
        if self.mood == "busy" and self._rng.random() < 0.4:
            return WriteConflict("deadlock")
        if self.mood == "narrow" and len(records) > 2:
            return BatchTooLarge(REFUSAL)
        if self.mood == REFUSING:
            self.refused |= {record.id for record in records}
            return RecordsRefused(REFUSAL, positions=None, certain=True)
        if self.mood == ODD:
            return RecordsRefused(REFUSAL, positions=None, certain=False)
        return self._refusal(records)

    def _refusal(self, records: Sequence[FakeRecord]) -> SinkError | None:
        fates = [message.fate for message in self._published.of(records)]
        bad = [position for position, fate in enumerate(fates) if fate in ("refused", "named", "unknown")]
        if not bad:
            return None
        fate = fates[bad[0]]
        return RecordsRefused(REFUSAL, positions=bad[:1] if fate == "named" else None, certain=fate != "unknown")


class WatchedSource(FakeSource):
    """A source that knows what it may acknowledge."""

    def __init__(self, world: "World", *, prefetch: int) -> None:
        super().__init__(prefetch=prefetch)
        self._world = world
        self.settled = 0
        self.delivered = 0

    def settle(self, deliveries: Iterable[Delivery]) -> None:
        finished = list(deliveries)
        self.settled += sum(not delivery.expired for delivery in finished)
        super().settle(finished)

    def _give_out(self) -> list[Delivery]:
        burst = super()._give_out()
        self.delivered += len(burst)
        return burst

    def _acknowledge(self, acks: Iterable[Ack]) -> None:
        before = len(self.acknowledged)
        super()._acknowledge(acks)
        for one in self.acknowledged[before:]:
            self._world.check_finished(one)


class World:
    """Everything outside of the process, and the process, which begins anew when it has ended."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        random.seed(seed)  # the waits between two tries
        self.published = Publications(rng)
        self.sink = FaultySink(rng, self.published)
        self.dead_lettered: set[bytes] = set()
        self._size, self._writers = rng.choice((1, 3, 8)), rng.choice((1, 2, 3))
        if self._size == 1:  # a prefetch of three or four, which a suspect and its neighbours fill
            self.published.most_unknown = 0
        self._hold_limit = rng.choice((60.0, 900.0))
        self.was_odd = False
        self.moods = (*MOODS, REFUSING) if rng.random() < 0.2 else MOODS
        self._begin([])

    def _begin(self, ready: list[tuple[bytes, str | None, int]]) -> None:
        self.source = WatchedSource(self, prefetch=(self._writers + 2) * self._size)
        self.source.ready = ready
        self.letters = FakeDeadLetters()
        self.outage = Outage(service="test", store="fake", rng=self.rng)
        self._before = {name: count(name) for name in ("records", "control_messages", "expired_deliveries")}
        self.pipeline: Pipeline[FakeRecord] = Pipeline(
            PipelineSettings(BatchLimits(self._size, target=0.1), self._writers, hold_limit=self._hold_limit),
            source=self.source,
            project=project,
            sink=self.sink,
            outage=self.outage,
            dead_letters=self.letters,
            metrics=KindMetrics("test", KIND),
        )
        self.letters.on_confirmed = self.confirmed
        self.running = asyncio.create_task(self.pipeline.run())

    def confirmed(self, letter: DeadLetter) -> None:
        if not letter.delivery.expired:
            self.dead_lettered.add(letter.delivery.body)
            message = self.published.all[letter.delivery.body]
            if message.fate == "stored" and message.id in self.sink.refused:
                message.fate = "refused"  # before the flood guard had seen enough
        self.pipeline.confirmed(letter)

    # What happens to the process

    def publish(self, messages: int, *, good: bool = False) -> None:
        for _ in range(messages):
            message = self.published.next(good=good)
            self.source.put(message.body, load=message.load, delivery_count=self.rng.choice((0, 0, 0, 0, 0, 11)))

    async def restart(self) -> None:
        """Stop as a signal does, within the limit of a drain, and begin again with what is left."""
        self.outage.stop()
        await asyncio.sleep(self.rng.choice((0.0, 0.0, 0.05)))
        self.source.stop()
        async with asyncio.timeout(8):
            await asyncio.shield(self.running)
        self._continue()

    async def kill(self) -> None:
        self.running.cancel()
        await asyncio.wait([self.running])
        self._continue()

    def _continue(self) -> None:
        self.check_counters()
        back = [(text, load, times + 1) for text, load, times in self.source.unacknowledged.values()]
        self._begin(back + self.source.ready)

    # What must hold

    def check_finished(self, text: bytes) -> None:
        """Whoever is acknowledged is stored, or beaten by one that is, or dead-lettered, or a control message."""
        message = self.published.all[text]
        if message.fate == "handled" or text in self.dead_lettered or text in self.sink.stored:
            return
        rivals = [self.published.all[one] for one in self.sink.stored]
        assert any(each.id == message.id and each.rank > message.rank for each in rivals), f"{text!r} is lost"

    def check_counters(self) -> None:
        """Every delivery that was settled has been counted once, and none as settled and expired."""
        counted = {name: count(name) - before for name, before in self._before.items()}
        assert counted["records"] + counted["control_messages"] == self.source.settled
        assert self.source.settled + counted["expired_deliveries"] <= self.source.delivered

    def check_end(self) -> None:
        for message in self.published.all.values():
            self.check_finished(message.body)
            is_good = message.fate in ("stored", "handled")
            assert not (is_good and message.body in self.dead_lettered), f"dead letter {message.number}"
        for record_id, message in self.published.best().items():
            if record_id in self.sink.refused:
                continue  # its dead letter may have been written and not confirmed: then it comes after later ones
            assert self.sink.rows[record_id].payload.encode() == message.body, f"{record_id} is not {message.number}"

    async def until_settled(self, within: float) -> None:
        async with asyncio.timeout(within):
            while self.source.ready or self.source.unacknowledged or self.source.away:
                assert not self.running.done(), self.running.result()
                await asyncio.sleep(0.5)


async def trouble(world: World) -> None:
    """One thing that happens."""
    rng = world.rng
    match rng.choice(("publish", "publish", "mood", "mood", "odd", "channel", "block", "confirm", "restart", "kill")):
        case "publish":
            world.publish(rng.randint(1, 20))
        case "mood":
            world.sink.mood = rng.choice(world.moods)
        case "odd" if not world.was_odd:
            world.was_odd, world.sink.mood = True, ODD
            await asyncio.sleep(10)
            world.sink.mood = "fine"
        case "channel" if not world.source.away:
            world.source.lose_channel()
        case "block":
            world.letters.blocked = True
        case "confirm":
            world.letters.confirm()
        case "restart":
            await world.restart()
        case "kill":
            await world.kill()


async def live(seed: int) -> None:
    world = World(seed)
    world.publish(1, good=True)
    for _ in range(world.rng.randint(5, 25)):
        await trouble(world)
        await asyncio.sleep(world.rng.choice((0.0, 0.001, 0.05, 0.5, 5.0, 40.0)))
    world.sink.mood = "fine"
    world.letters.confirm()
    async with asyncio.TaskGroup() as tasks:
        neighbours = tasks.create_task(publish_neighbours(world))
        await world.until_settled(within=600)
        neighbours.cancel()
    await world.until_settled(within=20)
    world.check_end()
    world.publish(20, good=True)
    await world.until_settled(within=120)  # nothing of all that is in the way of anything
    await world.restart()
    await world.kill()


async def publish_neighbours(world: World) -> None:
    """What proves that the store takes writes, for as long as there are suspects."""
    while True:
        world.publish(1, good=True)
        await asyncio.sleep(5)


def count(name: str) -> float:
    metrics = REGISTRY.restricted_registry([f"spindle_{name}_total"]).collect()
    return sum(sample.value for metric in metrics for sample in metric.samples if sample.labels["kind"] == KIND)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_whatever_happens_nothing_is_lost_doubled_miscounted_or_stuck(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.judgement.FloodGuard", partial(FloodGuard, limit=20))
    for seed in range(first, first + SEEDS_PER_TEST):
        try:
            in_virtual_time(live)(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
