"""The only doubles: a source, a sink and a dead-letter queue in memory. They pass the contract suites."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace as replace_struct

from common.dead_letters import DeadLetter
from common.delivery import Delivery, Epoch, Properties, load_of
from common.envelope import Envelope, Projection
from common.errors import RecordsRefused, Refusal, SinkError
from common.ledger import View
from common.loads import Announcement, Load, Pause, State, Totals
from common.outcomes import Outcome, Outcomes
from common.progress import NUMBERS, Errors, Note, Numbers, Progress, count, numbers_of
from common.rabbitmq.consuming.ack_ledger import Ack, AckLedger
from common.settings.environment import load
from common.settings.programs import ConsumerSettings
from tableinator.settings import TableinatorSettings


def consumer_settings(**changes: Any) -> ConsumerSettings:
    """What a consumer is told by default, with changes."""
    return replace(_DEFAULTS, **changes)


_DEFAULTS = load(TableinatorSettings, {}).consumer


class FakeRecord(msgspec.Struct, frozen=True):
    """A record as the fake sink stores it."""

    id: str
    hash: str = ""
    version: str | None = None
    payload: str = ""


@Projection
def project(envelope: Envelope, delivery: Delivery, record_id: str) -> FakeRecord:
    """Project as a service would; a record may break it."""
    if b"explode" in delivery.body:
        raise ZeroDivisionError("the projection divides by the record")
    return FakeRecord(record_id, envelope.sha256 or "", delivery.load, delivery.body.decode())


def body(record_id: object, text: str = "") -> bytes:
    """A data message."""
    sha = hashlib.sha256(f"{record_id}{text}".encode()).hexdigest()
    return json.dumps({"type": "data", "id": record_id, "sha256": sha, "text": text}).encode()


class FakeSource:
    """A queue and its channel: gives out what was put, up to the prefetch, and gives it out again in a new epoch."""

    def __init__(self, *, prefetch: int = 1000) -> None:
        self.prefetch = prefetch
        self.ready: list[tuple[bytes, str | None, int]] = []  # body, load, delivery count
        self.unacknowledged: dict[int, tuple[bytes, str | None, int]] = {}
        self.acknowledged: list[bytes] = []
        self.acks: list[Ack] = []
        self.away = False
        self.closed = False
        self._epoch = Epoch(1)
        self._ledger = AckLedger(prefetch=prefetch)
        self._tag = 0
        self._changed = asyncio.Event()
        self._stopped = False
        self._closing = asyncio.Event()

    @property
    def connected(self) -> bool:
        return not self.away

    @property
    def unsettled(self) -> int:
        return 0 if self._epoch.ended else self._ledger.unsettled

    @property
    def oldest(self) -> float | None:
        return None if self._epoch.ended else self._ledger.oldest

    def put(self, *bodies: bytes, load: str | None = None, delivery_count: int = 0) -> None:
        """Publish."""
        self.ready.extend((one, load, delivery_count) for one in bodies)
        self._changed.set()

    def lose_channel(self) -> None:
        """End the epoch as a lost connection does: everything unacknowledged goes back to the head."""
        self._end_epoch()
        self._begin_epoch()

    async def run(self) -> None:
        await self._closing.wait()

    async def receive(self) -> Sequence[Delivery]:
        while True:
            burst = [] if self.away or self._stopped else self._give_out()
            if burst or self._stopped:
                return burst
            self._changed.clear()
            await self._changed.wait()

    def settle(self, deliveries: Iterable[Delivery]) -> None:
        tags = [delivery.tag for delivery in deliveries if delivery.epoch is self._epoch and not delivery.expired]
        self._ledger.settle(tags)
        self._acknowledge(self._ledger.take())
        self._changed.set()

    async def until_settled(self) -> None:
        while self.unsettled:
            self._changed.clear()
            await self._changed.wait()

    async def hand_back(self) -> None:
        self._acknowledge(self._ledger.take() + self._ledger.take_singly())
        self.away = True
        self._end_epoch()

    async def resume(self) -> None:
        self.away = False
        self._begin_epoch()

    def stop(self) -> None:
        self._stopped = True
        self._changed.set()

    async def close(self) -> None:
        if not self._epoch.ended:
            self._acknowledge(self._ledger.take() + self._ledger.take_singly())
            self._end_epoch()
        self.closed = True
        self._closing.set()

    def _give_out(self) -> list[Delivery]:
        room = self.prefetch - len(self.unacknowledged)
        taken, self.ready = self.ready[:room], self.ready[room:]
        if not taken:
            return []
        now = asyncio.get_running_loop().time()
        burst = []
        for message in taken:
            self._tag += 1
            self.unacknowledged[self._tag] = message
            burst.append(Delivery(self._tag, self._epoch, message[0], now, message[1], None, message[2], Properties))
        self._ledger.receive(self._tag, now)
        return burst

    def _acknowledge(self, acks: Iterable[Ack]) -> None:
        for ack in acks:
            assert ack.tag in self.unacknowledged, "the broker would close the channel for this acknowledgement"
            self.acks.append(ack)
            tags = [tag for tag in self.unacknowledged if tag <= ack.tag] if ack.multiple else [ack.tag]
            self.acknowledged.extend(self.unacknowledged.pop(tag)[0] for tag in tags)

    def _end_epoch(self) -> None:
        self._epoch.ended = True
        back = [(one, load, count + 1) for one, load, count in self.unacknowledged.values()]
        self.unacknowledged.clear()
        self.ready[:0] = back
        self._changed.set()

    def _begin_epoch(self) -> None:
        self._epoch = Epoch(self._epoch.number + 1)
        self._ledger = AckLedger(prefetch=self.prefetch)
        self._tag = 0
        self._changed.set()


class FakeLedger:
    """A ledger in memory, which is always there."""

    takes_turns = True

    def __init__(self) -> None:
        self.progress = Progress()
        self.rows: dict[tuple[str, int], Numbers] = {}
        """By load and writer."""
        self.noted: list[tuple[tuple[str, str], Errors]] = []
        """Errors by load and result, as they were written."""
        self.announced: dict[str, Load] = {}
        self.pause: Pause | None = None
        self.fail: Callable[[], SinkError | None] = lambda: None
        self.gate = asyncio.Event()
        self.gate.set()

    def write(self, note: Note) -> None:
        """Add to it, as a part of a transaction."""
        for each, numbers in note.by_load.items():
            self.rows.setdefault((each, note.writer), Numbers()).add(numbers)

    def totals(self, of: str) -> Numbers:
        """What a load came to."""
        sums = Numbers()
        for (each, _), numbers in self.rows.items():
            if each == of:
                sums.add(numbers)
        return sums

    def errors(self) -> dict[tuple[str, str], Errors]:
        """What errors there were, by load and result, the last one last."""
        sums: dict[tuple[str, str], Errors] = {}
        for key, met in sorted(self.noted, key=lambda each: each[1].last_at):
            if key in sums:
                sums[key].add(met)
            else:
                sums[key] = replace_struct(met)
        return sums

    async def note(self) -> None:
        await self._attempt()
        with self.progress.taking({}) as note:
            self.write(note)
        if self.progress.has_errors:
            with self.progress.taking_errors() as errors:
                await self._attempt()
                self.noted += errors.items()

    async def announce(self, announcement: Announcement) -> None:
        await self._attempt()
        told = Load(
            load=announcement.load,
            kind=announcement.kind,
            state=State.ANNOUNCED,
            announced_at=datetime.now(UTC),
            published=announcement.published,
        )
        self.announced.setdefault(announcement.load, told)

    async def look(self) -> View:
        await self._attempt()
        newest = max((*self.announced, *(each for each, _ in self.rows)), default=None)
        if newest is None:
            return View(self.pause)
        known = self.announced.get(newest) or Load(load=newest, kind="", state=State.RUNNING)
        totals = {name: getattr(self.totals(newest), name) for name in NUMBERS}
        return View(self.pause, replace(known, totals=Totals(**totals)))

    async def _attempt(self) -> None:
        await self.gate.wait()
        if (error := self.fail()) is not None:
            raise error


class FakeSink:
    """A table in memory. `fail` is asked before each write and may return the error to raise."""

    def __init__(self) -> None:
        self.ledger = FakeLedger()
        self.rows: dict[str, FakeRecord] = {}
        self.batches: list[list[str]] = []
        """Ids of every transaction that committed."""
        self.attempts: list[list[str]] = []
        self.fail: Callable[[Sequence[FakeRecord]], SinkError | None] = lambda _: None
        self.gate = asyncio.Event()
        self.gate.set()
        self.pace = 0.0
        """Seconds that a transaction takes for each record."""
        self.rewrites: list[str] = []
        self.probes: list[str] = []

    async def write(self, records: Sequence[FakeRecord]) -> Outcomes:
        await self._attempt(records)
        found = [self._store(record) for record in records]
        outcomes = count(found)
        numbers = numbers_of(records, found, outcomes)
        if outcomes.written:
            with self.ledger.progress.taking(numbers) as note:
                self.ledger.write(note)
        else:
            self.ledger.progress.add(numbers)
        self.batches.append([record.id for record in records])
        return outcomes

    async def rewrite(self, record: FakeRecord) -> bool:
        await self._attempt([record])
        stored = self.rows.get(record.id)
        if stored is None or stored.hash != record.hash or (not record.hash and stored != record):
            return False
        self.rewrites.append(record.id)
        return True

    async def probe(self, record: FakeRecord) -> None:
        await self._attempt([record])
        self.probes.append(record.id)

    async def _attempt(self, records: Sequence[FakeRecord]) -> None:
        self.attempts.append([record.id for record in records])
        await self.gate.wait()
        if self.pace:
            await asyncio.sleep(self.pace * len(records))
        if (error := self.fail(records)) is not None:
            raise error

    def _store(self, record: FakeRecord) -> Outcome:
        stored = self.rows.get(record.id)
        if stored is None:
            self.rows[record.id] = record
            return Outcome.NEW
        if record.hash and stored.hash == record.hash:
            return Outcome.UNCHANGED
        known = load_of(stored.version)
        if record.version is not None and known is not None and record.version < known:
            return Outcome.STALE
        self.rows[record.id] = record
        return Outcome.CHANGED


def refuse(*ids: str, certain: bool = True, named: bool = False) -> Callable[[Sequence[FakeRecord]], SinkError | None]:
    """Make a `fail` that refuses these ids."""

    def fail(records: Sequence[FakeRecord]) -> SinkError | None:
        bad = [position for position, record in enumerate(records) if record.id in ids]
        if not bad:
            return None
        positions = bad[:1] if named else None
        return RecordsRefused(Refusal("FakeRefusal", "F0001", "no"), positions=positions, certain=certain)

    return fail


class FakeDeadLetters:
    """A dead-letter queue that confirms at once, or when the gate opens."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.unconfirmed: list[DeadLetter] = []
        self.on_confirmed: Callable[[DeadLetter], None] = lambda _: None
        self.blocked = False
        self._drained = asyncio.Event()

    def put(self, letters: Iterable[DeadLetter]) -> None:
        self.unconfirmed.extend(letters)
        if not self.blocked:
            self.confirm()

    def confirm(self) -> None:
        """Let the broker confirm what it has."""
        self.blocked = False
        waiting, self.unconfirmed = self.unconfirmed, []
        for letter in waiting:
            if not letter.delivery.expired:
                self.letters.append(letter)
            self.on_confirmed(letter)
        self._drained.set()

    async def drained(self) -> None:
        while self.unconfirmed:
            self._drained.clear()
            await self._drained.wait()

    @property
    def ids(self) -> list[str]:
        """Ids of the confirmed letters, in order."""
        return [letter.record_id for letter in self.letters]
