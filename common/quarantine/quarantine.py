"""What becomes of records that were not stored: they are tried again, until they are stored or dead-lettered.

Three ideas, of which docs/failures.md has the whole rule:

- *Credit.* A refused record is dead-lettered at once if its batch wrote another, or if there is credit. Else it is
  held, and tried again when a record has been written. So at most 99 refused records need no proof from one write to
  the next.
- *Rounds.* A suspected record is tried every 15 s. A round counts if the store wrote something after it; three that
  count make it a refused one.
- *Order.* Of each id there is a queue, the version that counts first. Only the first is tried: once it is stored the
  others are beaten, once it is dead-lettered the next one is tried.

Whatever is here stays unsettled and in flight. One task does all the trying, so nothing in here is tried twice at once.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from types import NoneType
from typing import Generic, Protocol

import structlog

from common.backoff import Backoff
from common.batching.batch import Batch, BatchLimits, Item, Trigger, first_run
from common.batching.batch_size import BatchSize
from common.batching.batcher import Batcher
from common.batching.waiters import whole
from common.dead_letters import DeadLetter, DeadLetters
from common.errors import Reason
from common.outcomes import Outcomes
from common.quarantine.case import Case
from common.quarantine.evidence import NEIGHBOUR, ROUND_PAUSE, ROUNDS, Credit
from common.sink import R
from common.storing.breaker import Breaker, Released
from common.storing.isolation import Refused, Stored, Suspected
from common.storing.store_writer import StoreWriter
from common.storing.verdicts import verdicts
from common.telemetry.metrics import KindMetrics

log = structlog.get_logger()


class Settle(Protocol[R]):
    """Settle what has been committed, and those that lost to it; they leave the flight."""

    def __call__(self, items: Sequence[Item[R]], outcomes: Outcomes, *, losers: Mapping[str, list[Item[R]]]) -> object:
        """Settle."""


class Quarantine(Generic[R]):
    """The quarantine of one kind. `size` and `limits` say how much may be tried in one batch."""

    def __init__(
        self,
        limits: BatchLimits,
        *,
        size: BatchSize,
        batcher: Batcher[R],
        writer: StoreWriter[R],
        breaker: Breaker,
        settle: Settle[R],
        dead_letters: DeadLetters,
        metrics: KindMetrics,
        credit: Credit,
        backoff: Backoff,
    ) -> None:
        self._limits, self._size, self._batcher, self._writer = limits, size, batcher, writer
        self._breaker, self._settle, self._dead_letters, self._metrics = breaker, settle, dead_letters, metrics
        self._credit = credit
        self._cases: dict[str, deque[Case[R]]] = {}
        """A queue for each id. The ids that were tried last stand last."""
        self._unreadable: deque[DeadLetter] = deque()
        self._backoff, self._delays = backoff, backoff.delays()
        self._retry_at = self._round_at = 0.0
        self._episodes = 0  # outages that the suspects know of
        self._is_alarmed = self._is_holding = self._is_away = False
        self._news = asyncio.Event()
        self._held = 0  # read by the thread that serves metrics
        metrics.watch_held(lambda: self._held)

    @property
    def is_open(self) -> bool:
        """Whether anything is in here."""
        return bool(self._cases or self._unreadable)

    @property
    def is_out_of_credit(self) -> bool:
        """Whether refusals are held now, or would be."""
        return not self._credit.left

    @property
    def record(self) -> R | None:
        """A record to try the store with, if there is one."""
        return next((same[0].item.record for same in self._cases.values()), None)

    # What comes in

    def take(self, cases: Sequence[Case[R]], *, has_written: bool) -> None:
        """Take what one batch did not store, of each id the version that counts first; they stay in flight.

        `has_written`: the batch wrote other records, which proves that the refused ones are bad.
        """
        if not cases:
            return
        if not self.is_open:
            self._episodes = self._breaker.episodes
        for case in cases:
            self._cases.setdefault(case.id, deque()).append(case)
            if isinstance(case.verdict, Suspected):
                log.warning("Record suspected", data_type=self._metrics.kind, error=case.verdict.refusal.error_class)
        self._judge([case for case in cases if case.is_refused], has_written=has_written)

    def unreadable(self, letters: Sequence[DeadLetter]) -> None:
        """Take deliveries that hold no record."""
        self._unreadable.extend(letters)
        self._release_unreadable()

    def stored(self, outcomes: Outcomes) -> None:
        """Take note of what was stored, here or elsewhere: it gives credit."""
        self._credit.stored(outcomes)
        if self.is_open:
            self._news.set()

    def epoch_began(self) -> None:
        """What came over an earlier channel comes again, and must not wait for its own copy in here."""
        self._news.set()

    def handed_back(self, is_away: bool) -> None:
        """Everything was handed back, or is asked for again: until then refusals count as held."""
        self._is_away = is_away
        self._show()

    # One look after the other

    async def run(self) -> None:
        """Try again what is in here, until cancelled or until the process drains: what is left stays in flight."""
        while True:
            await self._until_due()
            try:
                await self._look()
            except Released:
                if not self._drop_expired():
                    return

    async def _until_due(self) -> None:
        now = asyncio.get_running_loop().time
        while (due := self._due()) is None or due > now():
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(None if due is None else whole(due)):
                    await self._news.wait()

    def _due(self) -> float | None:
        """When there is something to do; None while only news can make it so."""
        times = [0.0] if self._has_expired else []
        if self._holds_refused:
            times.append(0.0 if self._credit.left else self._retry_at)
        for case in self._heads():
            if case.verdict is None:
                times.append(0.0)
            elif case.is_suspected:
                times.append(self._round_at)
        return min(times, default=None)

    async def _look(self) -> None:
        """Do the one thing that is most urgent."""
        now = asyncio.get_running_loop().time
        self._drop_expired()
        self._release_unreadable()
        refused = self._heads(Refused)
        if untried := self._heads(NoneType):
            await self._try(untried)
        elif refused and self._credit.left:
            await self._try(refused[: self._credit.left])
        elif self._holds_refused and now() >= self._retry_at:
            await self._retry(refused[:1])
        elif (suspected := self._heads(Suspected)) and now() >= self._round_at:
            await self._round(suspected)

    async def _retry(self, case: list[Case[R]]) -> None:
        """Without credit: try the one that was tried longest ago, so that a store that is well again is noticed."""
        await self._try(case)
        if not self._credit.left:
            await self._go_ahead()
        self._retry_at = asyncio.get_running_loop().time() + next(self._delays)

    async def _round(self, suspected: list[Case[R]]) -> None:
        """Try each suspect by itself, and count the round if the store writes something after it."""
        for case in suspected:
            await self._try([case])
        # By the case and not by its id: one that is stored by now may have left its place to a later version.
        failed = [case for case in suspected if case.is_suspected and case in self._cases.get(case.id, ())]
        counts = bool(failed) and await self._has_evidence(failed[0])
        self._round_at = asyncio.get_running_loop().time() + ROUND_PAUSE
        if self._episodes != self._breaker.episodes:  # the store was away: what failed before may have failed of that
            self._episodes, counts = self._breaker.episodes, False
            for case in self._heads():
                case.rounds = 0
        for case in failed if counts else ():
            case.rounds += 1
            if case.rounds >= ROUNDS and case.verdict is not None:
                case.verdict = _proved(case.verdict)
        self._judge([case for case in failed if case.is_refused], has_written=False)

    async def _has_evidence(self, case: Case[R]) -> bool:
        """Whether the store writes something now: a neighbour, the witness, or what waits behind the suspects."""
        witness, before = self._writer.witness, self._writer.witness.commits
        with suppress(TimeoutError):
            async with asyncio.timeout(NEIGHBOUR):
                await witness.testify()
        if witness.commits == before:
            await self._writer.rewrite_witness(gone=lambda: case.item.delivery.expired)
        if witness.commits == before:
            await self._go_ahead()
        if witness.commits == before and not self._is_alarmed:
            log.error("Record held: nothing proves that the store takes writes", data_type=self._metrics.kind)
        self._is_alarmed = witness.commits == before
        return witness.commits > before

    async def _go_ahead(self) -> None:
        """Let one record pass, if what is in here blocks the stream, and with it all that could prove something."""
        if (item := self._batcher.take_ahead()) is not None:
            case = Case(item)
            self._cases[case.id] = deque([case])
            await self._try([case])

    async def _try(self, cases: Sequence[Case[R]]) -> None:
        """Write the first of some ids again, as many as fit a batch.

        Raises: Released.
        """
        run = first_run([case.item for case in cases], size=self._size.records, max_bytes=self._limits.max_bytes)
        for item in run:  # to the end of the line
            self._cases[item.record.id] = self._cases.pop(item.record.id)
        has_written, refused = False, list[Case[R]]()
        try:
            async for verdict in verdicts(self._writer, Batch(run, Trigger.SIZE), self._writer.turn()):
                if isinstance(verdict, Stored):
                    has_written = has_written or bool(verdict.outcomes.written)
                    self._leave(verdict.items, verdict.outcomes)
                    continue
                case = self._cases[verdict.item.record.id][0]
                case.verdict = _proved(verdict) if case.rounds >= ROUNDS else verdict
                if case.is_refused:
                    refused.append(case)
        finally:
            self._judge(refused, has_written=has_written)

    # What goes out

    def _leave(self, items: Sequence[Item[R]], outcomes: Outcomes) -> None:
        """These are stored, and have beaten what waits behind them."""
        losers = {item.record.id: [case.item for case in self._cases.pop(item.record.id)][1:] for item in items}
        self._settle(items, outcomes, losers=losers)
        self.stored(outcomes)

    def _judge(self, refused: Sequence[Case[R]], *, has_written: bool) -> None:
        """Dead-letter refused records that are proved, or as many as there is credit for.

        They go in the order of their arrival.
        """
        letters, kind = list[DeadLetter](), self._metrics.kind
        for case in sorted(refused, key=lambda case: case.item.delivery.tag):
            delivery, verdict = case.item.delivery, case.verdict
            if isinstance(verdict, Refused) and not delivery.expired and (has_written or self._credit.spend()):
                letters.append(DeadLetter(delivery, kind, case.id, verdict.reason, verdict.refusal))
                self._remove(case)
        self._dead_letters.put(letters)
        self._show()

    def _release_unreadable(self) -> None:
        letters = []
        while self._unreadable and self._credit.spend(unreadable=True):
            letters.append(self._unreadable.popleft())
        self._dead_letters.put(letters)
        self._show()

    def _drop_expired(self) -> bool:
        """Drop what came over a channel that has ended: it comes again. Returns: whether there was any."""
        gone = [case for same in self._cases.values() for case in same if case.item.delivery.expired]
        for case in gone:
            self._remove(case)
        unreadable = [letter for letter in self._unreadable if letter.delivery.expired]
        if unreadable:
            self._unreadable = deque(letter for letter in self._unreadable if not letter.delivery.expired)
        self._metrics.expired(len(gone) + len(unreadable))
        if gone or unreadable:
            self._show()
        return bool(gone or unreadable)

    def _remove(self, case: Case[R]) -> None:
        self._cases[case.id].remove(case)
        if not self._cases[case.id]:
            del self._cases[case.id]
        self._batcher.done([case.item])

    # What is in here

    def _heads(self, verdict: type = object) -> list[Case[R]]:
        """The first version of each id, if it has such a verdict. The one that was tried longest ago comes first."""
        return [same[0] for same in self._cases.values() if isinstance(same[0].verdict, verdict)]

    @property
    def _has_expired(self) -> bool:
        held = chain.from_iterable(self._cases.values())
        return any(case.item.delivery.expired for case in held) or any(
            letter.delivery.expired for letter in self._unreadable
        )

    @property
    def _holds_refused(self) -> bool:
        return bool(self._unreadable) or bool(self._heads(Refused))

    def _show(self) -> None:
        """Say what is in here, and let the task look at it."""
        self._news.set()
        self._held = len(self._unreadable) + len(self._heads(Refused))
        self._metrics.suspects(len(self._heads(Suspected)))
        is_holding = self._holds_refused and not self._credit.left
        self._metrics.flooded(is_holding or (self._is_away and not self._credit.left))
        if is_holding == self._is_holding:
            return
        self._is_holding = is_holding
        if not is_holding:
            log.info("Refused records are held no longer", data_type=self._metrics.kind)
            return
        self._delays = self._backoff.delays()
        self._retry_at = asyncio.get_running_loop().time() + next(self._delays)
        said = [letter.refusal for letter in self._unreadable]
        said += [case.verdict.refusal for case in self._heads(Refused) if case.verdict is not None]
        log.error(
            "Refusing everything: dead letters are held until a record is stored",
            data_type=self._metrics.kind,
            error=said[0].error_class,
            code=said[0].code,
            hint="fix the cause, or set DEAD_LETTER_FLOOD=allow",
        )


def _proved(verdict: Refused[Item[R]] | Suspected[Item[R]]) -> Refused[Item[R]]:
    """What the rounds have proved: it is refused, whatever the store says of it next."""
    if isinstance(verdict, Refused):
        return verdict
    return Refused(verdict.item, Reason.REFUSED, verdict.refusal)
