"""What becomes of records that a store refuses.

A refusal that is by its class the data's makes a dead letter at once. One of unknown meaning makes a suspect, judged by
the rule of evidence. And when everything is refused, nothing is dead-lettered until something has been stored.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic

import structlog

from common.backoff import delays
from common.batch import Item
from common.batching import Batcher
from common.dead_letters import DeadLetter, DeadLetters
from common.errors import BatchTooLarge, Reason, RecordsRefused, Refusal
from common.evidence import FAILURES, NEIGHBOUR, SPREAD, FloodGuard, Suspicion
from common.metrics import KindMetrics
from common.outage import Outage, Released
from common.sink import Outcomes, R
from common.writing import StoreWriter

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class Refusing(Generic[R]):
    """A dead letter to be; `item` is None where no record could be read, so that no store can change its mind."""

    letter: DeadLetter
    item: Item[R] | None


class Judgement(Generic[R]):
    """Suspects and held refusals of one kind. Both stay unsettled, and in flight, until they are judged."""

    def __init__(
        self,
        *,
        writer: StoreWriter[R],
        batcher: Batcher[R],
        outage: Outage,
        dead_letters: DeadLetters,
        metrics: KindMetrics,
        store: Callable[[Sequence[Item[R]]], Awaitable[None]],
        settle: Callable[[Sequence[Item[R]], Outcomes], object],
        allow_flood: bool,
    ) -> None:
        self._writer, self._batcher, self._outage = writer, batcher, outage
        self._dead_letters, self._metrics = dead_letters, metrics
        self._store, self._settle = store, settle
        self._flood = FloodGuard(allow=allow_flood)
        self._held: list[Refusing[R]] = []
        self._holding = asyncio.Event()
        self._suspects: set[Item[R]] = set()
        self._tasks: asyncio.TaskGroup

    @property
    def is_open(self) -> bool:
        """Whether anything awaits its judgement."""
        return bool(self._held or self._suspects)

    @property
    def held_record(self) -> R | None:
        """A record that the flood guard holds, if any."""
        return next((refusing.item.record for refusing in self._held if refusing.item is not None), None)

    async def run(self) -> None:
        """Judge until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            await self._guard()

    def unreadable(self, letters: Sequence[DeadLetter]) -> None:
        """Set aside deliveries that hold no record."""
        self._flood.unreadable(len(letters))
        self._set_aside([Refusing(letter, None) for letter in letters])

    def judge(self, stored: Outcomes, refusals: Sequence[tuple[Item[R], Reason, Refusal]]) -> None:
        """Set aside what the store refused for certain; what it stored beside them speaks for it."""
        self._flood.refused(len(refusals))
        self._flood.stored(stored)
        self._set_aside([Refusing(self._letter(item, reason, refusal), item) for item, reason, refusal in refusals])

    def suspect(self, item: Item[R], refusal: Refusal) -> None:
        """Hold a record that failed alone for an unknown reason, and judge it by the rule of evidence."""
        self._batcher.keep([item])
        self._suspects.add(item)
        self._metrics.suspects(len(self._suspects))
        self._tasks.create_task(self._judge(item, Suspicion(refusal, self._outage.episodes)), name="suspect")

    # The rule of evidence

    async def _judge(self, item: Item[R], suspicion: Suspicion[R]) -> None:
        log.warning("Record suspected", data_type=self._metrics.kind, error=suspicion.refusal.error_class)
        try:
            while await self._evidence(item):
                if suspicion.is_proved:
                    self.judge(Outcomes(), [(item, Reason.REFUSED, suspicion.refusal)])
                    return
                await asyncio.sleep(SPREAD / (FAILURES - 1))
                if await self._try_again(item, suspicion):
                    return
        except Released:
            return
        finally:
            self._suspects.discard(item)
            self._metrics.suspects(len(self._suspects))
            self._batcher.done([item])

    async def _try_again(self, item: Item[R], suspicion: Suspicion[R]) -> bool:
        """Write a suspect once more. Returns: whether that settled the matter."""
        try:
            outcomes = await self._writer.write([item])
        except (RecordsRefused, BatchTooLarge) as error:
            if isinstance(error, RecordsRefused) and error.certain:
                self.judge(Outcomes(), [(item, Reason.REFUSED, error.refusal)])
                return True
            suspicion.failed(error.refusal, episode=self._outage.episodes)
            return False
        self._batcher.keep([item])  # settling lets go of it, and so does the end of this judgement
        self._flood.stored(outcomes)
        self._settle([item], outcomes)
        return True

    async def _evidence(self, item: Item[R]) -> bool:
        """Wait for a transaction, later than now, that wrote something.

        Returns: False if the delivery expired first.
        """
        alarmed = False
        while not item.delivery.expired:
            if await self._neighbour_written() or await self._writer.rewrite_witness():
                return True
            if not alarmed:
                log.error("Record held: nothing proves that the store takes writes", data_type=self._metrics.kind)
                alarmed = True
        self._metrics.expired(1)
        return False

    async def _neighbour_written(self) -> bool:
        try:
            async with asyncio.timeout(NEIGHBOUR):
                await self._writer.witness.testify()
        except TimeoutError:
            return False
        return True

    # The flood guard

    def _set_aside(self, refusing: list[Refusing[R]]) -> None:
        if not refusing:
            return
        if not self._flood.holds:
            self._dead_letters.put(entry.letter for entry in refusing)
            return
        if not self._held:
            log.error(
                "Refusing everything: dead letters are held until a record is stored",
                data_type=self._metrics.kind,
                reason=refusing[-1].letter.reason,
                error=refusing[-1].letter.refusal.error_class,
                code=refusing[-1].letter.refusal.code,
                hint="mend the cause, or set DEAD_LETTER_FLOOD=allow",
            )
        self._batcher.keep([entry.item for entry in refusing if entry.item is not None])
        self._held.extend(refusing)
        self._holding.set()
        self._metrics.flooded(True)

    async def _guard(self) -> None:
        """Whenever refusals are held: write the oldest again and again, until the store takes one or others were."""
        while True:
            await self._holding.wait()
            for pause in delays():
                await asyncio.sleep(pause)
                self._drop_expired()
                if not self._held or not self._flood.holds:
                    break
                await self._try_oldest()
            await self._let_go()

    async def _try_oldest(self) -> None:
        entry = next((entry for entry in self._held if entry.item is not None), None)
        if entry is None or entry.item is None:
            return
        try:
            outcomes = await self._writer.write([entry.item])
        except (RecordsRefused, BatchTooLarge, Released):
            return
        self._held.remove(entry)
        self._flood.stored(outcomes)
        self._settle([entry.item], outcomes)

    async def _let_go(self) -> None:
        """The flood is over: what was held is judged as if it came now."""
        held, self._held = self._held, []
        self._holding.clear()
        self._metrics.flooded(False)
        items = [entry.item for entry in held if entry.item is not None]
        self._dead_letters.put(entry.letter for entry in held if entry.item is None)
        if items:
            log.info("Storing again: held refusals are judged anew", data_type=self._metrics.kind, records=len(items))
            await self._store(items)

    def _drop_expired(self) -> None:
        gone = [entry for entry in self._held if entry.letter.delivery.expired]
        if gone:
            self._held = [entry for entry in self._held if not entry.letter.delivery.expired]
            self._batcher.done([entry.item for entry in gone if entry.item is not None])
            self._metrics.expired(len(gone))

    def _letter(self, item: Item[R], reason: Reason, refusal: Refusal) -> DeadLetter:
        return DeadLetter(item.delivery, self._metrics.kind, item.record.id, reason, refusal)
