"""Check one kind of a load in one store: every id of the manifest, then every id of the store, then the dead letters.

The dead letters come last: a record that is set aside while the check runs is found there, and not called lost.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from common.errors import WriteConflict
from spindle.checking.classes import Class, Counts, Entry, Judge, Stored
from spindle.checking.diff import Progress, Result, Subject
from spindle.checking.id_set import IdSet
from spindle.progress import OnDone

T = TypeVar("T")

CHUNK = 5000
"""Ids that one question to a store is about."""


class Source(Protocol):
    """A manifest, as far as a check needs it."""

    load: str
    kind: str
    digest: str
    records: int

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """The rows, ids ascending, from this one on."""

    def ids(self) -> Iterator[int]:
        """The ids of all rows."""


class Identities(Protocol):
    """A store, as far as a check needs it."""

    @property
    def store(self) -> str:
        """What the store is called."""

    async def who(self, kind: str) -> tuple[str, datetime]:
        """What tells the store from every other one, and what time it is there."""

    async def look_up(self, kind: str, ids: Sequence[str]) -> dict[str, tuple[str, str | None, bool]]:
        """Hash, version, and whether it is by the current model, of those that are stored."""

    async def page(self, kind: str, behind: str, size: int) -> tuple[list[tuple[str, str | None]], str]:
        """The next ids with their versions, and the place of the last; the place that was given at the end."""

    async def estimate(self, kind: str) -> int:
        """About how many ids there are."""


DeadOf = Callable[[], Awaitable[IdSet]]
"""Finds the ids of this load that are among the dead letters of the store's service."""


class Pace:
    """Keeps what is asked of a store below so many records a second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free_at = time.monotonic()

    async def spend(self, records: int) -> None:
        """Wait until so many records more are within the rate."""
        now = time.monotonic()
        self._free_at = max(self._free_at, now - 1) + records / self._rate
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


class Check:
    """One check. `beginning`: the place before the first id of the store's scan."""

    def __init__(
        self,
        source: Source,
        identities: Identities,
        dead: DeadOf,
        *,
        beginning: str,
        folder: Path,
        pace: Pace,
        on_done: OnDone = lambda _phase, _done, _total: None,
        chunk: int = CHUNK,
        fresh: bool = False,
    ) -> None:
        """`fresh`: begin again, whatever an interrupted check has left."""
        self._chunk, self._fresh = chunk, fresh
        self._source, self._identities, self._dead = source, identities, dead
        self._beginning, self._folder, self._pace, self._on_done = beginning, folder, pace, on_done

    async def run(self) -> Result:
        """Go through all of it, on from where an interrupted check has come.

        Raises: a SinkError where the store can't be read, BrokerUnavailable, StartRefused; then what was seen is kept.
        """
        source = self._source
        server, now = await _again(lambda: self._identities.who(source.kind))
        subject = Subject(source.load, source.kind, self._identities.store, source.digest, server)
        with Progress(self._folder, subject, began_at=now, fresh=self._fresh) as progress:
            judge = Judge(source.load, Counts.from_data(progress.position.counts))
            if progress.position.phase == "ids":
                await self._judge_ids(progress, judge)
            if progress.position.phase == "scan":
                await self._scan(progress, judge)
            dead = IdSet()
            if not judge.counts.complete:  # they explain what is lost or different, and nothing else
                self._on_done("dead letters", 0, 0)
                dead = await self._dead()
            result = progress.finish(judge.settle(progress.listed(), dead), judge.counts)
        self._on_done("checked", source.records, source.records)
        return result

    async def _judge_ids(self, progress: Progress, judge: Judge) -> None:
        position = progress.position
        for chunk in _chunks(self._source.entries(position.rows), self._chunk):
            stored = await self._look_up([entry[0] for entry in chunk])
            position.rows += len(chunk)
            progress.save(judge.judge(chunk, stored), judge.counts)
            self._on_done("ids", position.rows, self._source.records)
        position.phase = "scan"
        progress.save((), judge.counts)

    async def _scan(self, progress: Progress, judge: Judge) -> None:
        position, kind = progress.position, self._source.kind
        known = IdSet(self._source.ids())
        # A row that is moved while the table is read may be met twice.
        met = IdSet(number for number, found in progress.listed() if found is Class.GONE)
        total, done = await self._identities.estimate(kind), 0
        behind = self._beginning if position.place is None else position.place
        while True:
            page, place = await _again(partial(self._identities.page, kind, behind, self._chunk))
            if place == behind:
                break
            seeming = [number for number in judge.candidates(page, known) if number not in met]
            gone = judge.gone(seeming, await self._look_up(seeming)) if seeming else []
            for number, _ in gone:
                met.add(number)
            behind = position.place = place
            progress.save(gone, judge.counts)
            done += len(page)
            self._on_done("scan", done, max(total, done))
            await self._pace.spend(len(page))
        position.phase = "letters"
        progress.save((), judge.counts)

    async def _look_up(self, ids: Sequence[int]) -> dict[int, Stored]:
        asked = [str(number) for number in ids]
        found = await _again(lambda: self._identities.look_up(self._source.kind, asked))
        await self._pace.spend(len(ids))
        return {int(stored_id): Stored(*values) for stored_id, values in found.items()}


async def _again(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask, and a few times again if another transaction was in the way."""
    for delay in (0.1, 0.5, 2.0, 5.0):
        try:
            return await ask()
        except WriteConflict:
            await asyncio.sleep(delay)
    return await ask()


def _chunks(entries: Iterator[Entry], size: int) -> Iterator[list[Entry]]:
    chunk: list[Entry] = []
    for entry in entries:
        chunk.append(entry)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
