"""Ask a store that nothing is written to, so that its absence is known before the next record comes.

It is asked as the work asks: a record is written, and rolled back.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec

from common.delivery import Delivery, Epoch, Properties
from common.envelope import Projection, R
from common.storing.breaker import Released

INTERVAL = 10.0
"""Seconds between two questions."""

_ID = "spindle asks whether the store takes this"


async def ask_while_idle(asks: Sequence[Callable[[], Awaitable[object]]], *, is_idle: Callable[[], bool]) -> None:
    """Ask forever, with each of these in turn. They return when the store has answered."""
    for ask in itertools.cycle(asks):
        await asyncio.sleep(INTERVAL)
        if is_idle():
            with suppress(Released):
                await ask()


def made_up(project: Projection[R]) -> R:
    """Make a record of an id that no producer sends.

    It has nothing else: whether the store is there and takes writes shows in the smallest record, and edges and their
    targets would be a dozen writes and locks more, every ten seconds. `spindle doctor` tries those, once.
    """
    body = msgspec.json.encode({"id": _ID, "sha256": ""})
    delivery = Delivery(
        tag=0,
        epoch=Epoch(0),
        body=body,
        received=time.monotonic(),
        load=None,
        published_ms=None,
        delivery_count=0,
        read_properties=Properties,
    )
    return project.make(project.read(body), delivery, _ID)
