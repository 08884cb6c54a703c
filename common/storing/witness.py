"""The last record that a kind's store wrote: the evidence that it takes writes."""

import asyncio
from typing import Generic

from common.outcomes import Outcomes
from common.sink import R


class Witness(Generic[R]):
    """The last record of a kind that the store wrote, and a way to wait for the next."""

    def __init__(self) -> None:
        self.record: R | None = None
        self.commits = 0
        """Transactions that changed the store."""
        self._written = asyncio.Event()

    def wrote(self, record: R, outcomes: Outcomes) -> None:
        """A transaction that changed the store has committed; this record was in it."""
        # If some were stale it may be one of them: the store holds another version of it, and can't rewrite it.
        if self.record is None or not outcomes.stale:
            self.record = record
        self.commits += 1
        self._written.set()
        self._written = asyncio.Event()

    def forget(self) -> None:
        """The store no longer holds the record as it was written."""
        self.record = None

    async def testify(self) -> None:
        """Wait for the next such transaction."""
        await self._written.wait()
