"""What becomes of records that can't be stored: a dead letter each, unless nothing at all can be stored.

When everything is refused the store is doubted, not the records: nothing is dead-lettered until one has been stored.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic

import structlog

from common.backoff import delays
from common.batching.batch import Item, by_id
from common.batching.batcher import Batcher
from common.dead_letters import DeadLetter, DeadLetters
from common.errors import BatchTooLarge, Reason, RecordsRefused, Refusal
from common.quarantine.evidence import FloodGuard
from common.sink import Outcomes, R
from common.storing.breaker import Released
from common.storing.store_writer import StoreWriter
from common.telemetry.metrics import KindMetrics

log = structlog.get_logger()

WATCH = 1.0
"""Seconds from one look to the next whether those that are under suspicion still are."""


@dataclass(frozen=True, slots=True, eq=False)
class Refusing(Generic[R]):
    """A dead letter to be; `item` is None where no record could be read, so that no store can change its mind."""

    letter: DeadLetter
    item: Item[R] | None


class Judgement(Generic[R]):
    """The refusals of one kind. Those that the flood guard holds stay unsettled, and in flight."""

    def __init__(
        self,
        *,
        writer: StoreWriter[R],
        batcher: Batcher[R],
        dead_letters: DeadLetters,
        metrics: KindMetrics,
        store: Callable[[Sequence[Item[R]]], Awaitable[object]],
        settle: Callable[[Sequence[Item[R]], Outcomes], object],
        suspected: Callable[[], Collection[str]],
        allow_flood: bool,
    ) -> None:
        self._writer, self._batcher = writer, batcher
        self._dead_letters, self._metrics = dead_letters, metrics
        self._store, self._settle = store, settle
        self._suspected = suspected
        self._flood = FloodGuard(allow=allow_flood)
        self._held: list[Refusing[R]] = []
        self._holding = asyncio.Event()
        self._is_away = False
        self._tries = 0
        self._anew: set[Item[R]] = set()  # what is judged anew just now
        self._room = 0  # what that counts for at most
        metrics.watch_held(lambda: len(self._held))

    @property
    def is_open(self) -> bool:
        """Whether anything is held."""
        return bool(self._held)

    @property
    def is_flooded(self) -> bool:
        """Whether dead letters are held, or would be if there were any."""
        return self._flood.holds

    @property
    def held_record(self) -> R | None:
        """A record that the flood guard holds, if any."""
        return next((refusing.item.record for refusing in self._held if refusing.item is not None), None)

    async def run(self) -> None:
        """Guard until cancelled: while refusals are held, write one after the other again.

        That ends when the store takes one, or has taken others.
        """
        while True:
            await self._holding.wait()
            for pause in delays():
                await asyncio.sleep(pause)
                self._drop_expired()
                if not self._held or not self._flood.holds:
                    break
                await self._try_one()
                # What is held may be what blocks the stream, and with it every record that could be stored.
                if self._flood.holds and (ahead := self._batcher.take_ahead()) is not None:
                    await self._store([ahead])
            await self._let_go()

    def unreadable(self, letters: Sequence[DeadLetter]) -> None:
        """Set aside deliveries that hold no record."""
        self._flood.unreadable(len(letters))
        self._set_aside([Refusing(letter, None) for letter in letters])

    def judge(self, stored: Outcomes, refusals: Sequence[tuple[Item[R], Reason, Refusal]]) -> None:
        """Set aside what the store refused for certain; what it stored beside them speaks for it."""
        anew = sum(item in self._anew for item, _, _ in refusals)
        self._flood.refused(len(refusals) - anew + min(anew, self._room))
        self._flood.stored(stored)
        self._set_aside([Refusing(self._letter(item, reason, refusal), item) for item, reason, refusal in refusals])

    def stored(self, outcomes: Outcomes) -> None:
        """Take note of what was stored elsewhere: it speaks for the store."""
        self._flood.stored(outcomes)

    def handed_back(self, is_away: bool) -> None:
        """Everything has been handed back, or is asked for again: until then the store is doubted as before."""
        self._is_away = is_away
        self._show()

    # The flood guard

    def _show(self) -> None:
        self._metrics.flooded(self._flood.holds and (bool(self._held) or self._is_away))

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
        self._show()

    async def _try_one(self) -> None:
        # Of each id the first, so that none comes after a later version; in turn, because some may deserve it.
        firsts: dict[str, Item[R]] = {}
        for item in self._waiting():
            firsts.setdefault(item.record.id, item)
        if not firsts:
            return
        item = list(firsts.values())[self._tries % len(firsts)]
        self._tries += 1
        try:
            outcomes = await self._writer.write([item])
        except (RecordsRefused, BatchTooLarge, Released):
            return
        self._held = [entry for entry in self._held if entry.item is not item]
        self._flood.stored(outcomes)
        self._settle([item], outcomes)

    async def _let_go(self) -> None:
        """The flood is over: what was held is judged as if it came now, but not so much at once that it were a flood.

        As many bad records as make a flood would be held for ever, whatever is stored between: so each record that is
        stored frees some.
        """
        if self._held:
            log.info("Storing again: held refusals are judged anew", data_type=self._metrics.kind)
        self._show()
        while self._held and not self._flood.holds:
            if portion := self._take_portion():
                await self._judge_anew(portion)
            elif self._held:
                await asyncio.sleep(WATCH)
            self._drop_expired()  # the channel may have ended meanwhile: a batch is of one channel
        if self._held:
            log.warning("Refusing again", data_type=self._metrics.kind, held=len(self._held))
        else:
            self._holding.clear()
        self._show()

    def _take_portion(self) -> list[Item[R]]:
        """Give out what no store can change its mind about; take the first ids that there is room for, or the first.

        Of an id all versions: were the first one suspected, a later one could be stored before it.
        """
        self._dead_letters.put(entry.letter for entry in self._held if entry.item is None)
        portion: list[Item[R]] = []
        for same in by_id(self._waiting()).values():
            if portion and len(portion) + len(same) > self._flood.room:
                break
            portion += same
        taken = set(portion)
        self._held = [entry for entry in self._held if entry.item is not None and entry.item not in taken]
        return portion

    async def _judge_anew(self, portion: list[Item[R]]) -> None:
        # An id may have more versions than there is room for: they would be a flood by themselves, each time.
        self._anew, self._room = set(portion), self._flood.room
        await self._store(portion)
        self._anew = set()

    def _waiting(self) -> list[Item[R]]:
        """The held records that may be written, in the order of their arrival: of two versions the later one counts.

        Where a version of their id is under suspicion it would come after them.
        """
        suspected = self._suspected()
        waiting = (entry.item for entry in self._held if entry.item is not None)
        return sorted((item for item in waiting if item.record.id not in suspected), key=lambda item: item.delivery.tag)

    def _drop_expired(self) -> None:
        gone = [entry for entry in self._held if entry.letter.delivery.expired]
        if gone:
            self._held = [entry for entry in self._held if not entry.letter.delivery.expired]
            self._batcher.done([entry.item for entry in gone if entry.item is not None])
            self._metrics.expired(len(gone))

    def _letter(self, item: Item[R], reason: Reason, refusal: Refusal) -> DeadLetter:
        return DeadLetter(item.delivery, self._metrics.kind, item.record.id, reason, refusal)
