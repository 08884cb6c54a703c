"""A batch, and a verdict on each of its records."""

from collections.abc import AsyncIterator
from functools import partial

from common.batching.batch import Batch, Item, take_winner
from common.sink import R
from common.storing.isolation import Refused, Verdict, isolate
from common.storing.store_writer import StoreWriter, Turn


async def verdicts(writer: StoreWriter[R], batch: Batch[R], turn: Turn) -> AsyncIterator[Verdict[Item[R]]]:
    """Write a batch, and give a verdict on each record. If a winner is refused, the next version of its id is written.

    Raises: Released; what was yielded before stays true.
    """
    items = batch.items
    while items:
        next_best: list[Item[R]] = []
        async for verdict in isolate(partial(writer.write, turn=turn), items):
            yield verdict
            if isinstance(verdict, Refused) and (same := batch.losers.get(verdict.item.record.id)):
                next_best.append(take_winner(same))
        items = next_best
