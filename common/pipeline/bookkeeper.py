"""Keep one kind's part of the ledger beside the flow: write what waits, announce loads, pause if one asks for it.

It asks the store every few seconds, in the kind's own turn, so that it needs no connection of its own; if the store is
away it asks again later, and no record waits for it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

import structlog

from common.batching.batch import Barrier
from common.batching.batcher import Batcher
from common.delivery import Source, load_of
from common.envelope import ControlType, FileComplete
from common.errors import BatchTooLarge, RecordsRefused, SinkError
from common.ledger import Ledger, View
from common.loads import UNKNOWN, Announcement, Pause
from common.pipeline.absence import Absence
from common.sink import R
from common.storing.store_writer import StoreWriter
from common.telemetry.metrics import KindMetrics

log = structlog.get_logger()

T = TypeVar("T")

INTERVAL = 3.0
"""Seconds between two looks: an operator who pauses a kind waits for no longer, nor does a number for the ledger."""

PATIENCE = 1.0
"""Seconds that the first look may take: while it lasts, nobody hears of a stop."""

AGAIN = 0.5
"""Seconds until the next first look."""

LARGEST = 2**63 - 1
"""The largest number that a store's integer holds."""


class Bookkeeper(Generic[R]):
    """The book of one kind."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        writer: StoreWriter[R],
        source: Source,
        batcher: Batcher[R],
        metrics: KindMetrics,
        absence: Absence,
    ) -> None:
        self._ledger, self._writer, self._source, self._batcher = ledger, writer, source, batcher
        self._metrics, self._absence = metrics, absence
        self._barriers: list[Barrier] = []
        self._announcing, self._noting = asyncio.Lock(), asyncio.Lock()
        self._refusal = ""
        self._asked = asyncio.Event()
        self.pause: Pause | None = None
        """Why nothing is consumed now, if an operator has paused the kind."""

    def announce(self, barrier: Barrier) -> None:
        """Write what a control message says, soon; only then it is settled."""
        self._barriers.append(barrier)
        self._asked.set()

    async def begin(self) -> None:
        """See whether the kind is paused, before anything is consumed: again and again until the store says, or until
        the process drains.
        """
        while not self._writer.is_stopping:
            if await self._first_look():
                return
            await asyncio.sleep(AGAIN)

    async def _first_look(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._look(is_first=True)
        except TimeoutError:
            return False

    async def run(self) -> None:
        """Keep the book until cancelled."""
        now = asyncio.get_running_loop().time
        due = now() + INTERVAL
        while True:
            try:
                async with asyncio.timeout_at(due):  # not again with each control message: they may come every second
                    await self._asked.wait()
                is_due = now() >= due
            except TimeoutError:
                is_due = True  # although the clock may say that a little is left: the loop's timers may be early
            self._asked.clear()
            if is_due:
                await self.finish()
                await self._look()
                due = now() + INTERVAL
            else:
                await self._announce()

    async def finish(self) -> None:
        """Write everything that waits, if the store takes it."""
        await self._announce()
        async with self._noting:  # a drain waits for the note that is under way: it has the numbers
            if self._ledger.progress.waits:
                await self._ask(self._ledger.note, sort="note")

    async def _announce(self) -> None:
        async with self._announcing:
            for barrier in tuple(self._barriers):
                what = announcement_of(barrier, self._metrics.kind)
                if (
                    what is None
                    or barrier.delivery.expired
                    or await self._ask(partial(self._tell, what), sort="announcement")
                ):
                    self._barriers.remove(barrier)
                    self._settle(barrier)

    async def _tell(self, announcement: Announcement) -> bool:
        try:
            await self._ledger.announce(announcement)
        except (RecordsRefused, BatchTooLarge) as error:
            # A statement that the store never takes is lost: what a check finds does not need it.
            log.warning("The store refuses what a control message says", data_type=self._metrics.kind, error=str(error))
        return True

    async def _ask(self, action: Callable[[], Awaitable[T]], *, sort: str) -> T | None:
        """Run a transaction on the ledger. Returns: None if it has to be run again later."""
        try:
            return await self._writer.book(action, sort=sort, in_turn=self._ledger.takes_turns)
        except (RecordsRefused, BatchTooLarge) as error:
            self._refused(error)
            return None

    def _refused(self, error: SinkError) -> None:
        """Say that the store refuses the ledger, once for as long as it says the same."""
        if str(error) != self._refusal:
            log.warning("The store refuses the ledger", data_type=self._metrics.kind, error=str(error))
        self._refusal = str(error)

    def _settle(self, barrier: Barrier) -> None:
        is_file = isinstance(barrier.control, FileComplete)
        self._source.settle([barrier.delivery])
        if not barrier.delivery.expired:
            self._metrics.control(ControlType.FILE if is_file else ControlType.EXTRACTION)
        self._batcher.recheck()  # the next control message waits for this one

    async def _look(self, *, is_first: bool = False) -> bool:
        """Returns: whether the store has answered. One that can't tell a pause, now or ever, pauses nothing."""
        try:
            in_turn = self._ledger.takes_turns and not is_first
            view = await self._writer.book(self._ledger.look, sort="look", in_turn=in_turn)
        except (RecordsRefused, BatchTooLarge) as error:
            self._refused(error)
            return True
        if view is None:
            return False
        self._metrics.load(view.newest)
        await self._obey(view)
        return True

    async def _obey(self, view: View) -> None:
        was_paused, self.pause = self.pause is not None, view.pause
        self._metrics.paused(view.pause is not None)
        if view.pause is not None and not was_paused:
            log.warning(
                "Paused, deliveries handed back",
                data_type=self._metrics.kind,
                by=view.pause.by,
                reason=view.pause.reason,
            )
            await self._absence.begin()
            self._batcher.discard_expired()
        elif was_paused and view.pause is None:
            log.info("Resumed", data_type=self._metrics.kind)
            await self._absence.end()


def announcement_of(barrier: Barrier, kind: str) -> Announcement | None:
    """What a control message says of a load of this kind; None if it names no load. Pure.

    A foreign producer names the load in the file's name only. What it says of numbers at the end of an extraction may
    include records that were never published, and is left.
    """
    control = barrier.control
    if isinstance(control, FileComplete):
        load = barrier.delivery.load or _load_in(control.file) or UNKNOWN
        published = control.total_processed if 0 <= control.total_processed <= LARGEST else None
        return Announcement(load=load, kind=kind, published=published, file=_storable(control.file) or None)
    load_named = load_of(control.version)
    return Announcement(load=load_named, kind=kind) if load_named else None


def _storable(text: str) -> str:
    """What every store takes of a text: no store needs all of a file's name, and PostgreSQL takes no NUL."""
    return text.replace("\0", "")[:200]


def _load_in(file: str) -> str | None:
    return next((load for part in file.split("_") if (load := load_of(part))), None)
