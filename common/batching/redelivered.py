"""Deliveries that may be what kills the process: each is written alone, after the others.

A later record of an id that waits here waits here too, so that versions of one id keep their order.
"""

from collections import Counter, deque
from collections.abc import Container
from typing import Generic

from common.batching.batch import Item
from common.delivery import Delivery
from common.sink import R


class Alone(Generic[R]):
    """The line beside the stream. `after`: a delivery that was given out more often belongs here."""

    def __init__(self, *, after: int) -> None:
        self._after = after
        self._items: deque[Item[R]] = deque()
        self._ids: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def clear(self) -> None:
        """Drop all."""
        self._items.clear()
        self._ids.clear()

    def takes(self, item: Item[R]) -> bool:
        """Put an item here, if this is where it belongs. Returns: whether it is."""
        if item.delivery.delivery_count <= self._after and item.record.id not in self._ids:
            return False
        self._items.append(item)
        self._ids[item.record.id] += 1
        return True

    def first_free(self, *busy: Container[str]) -> Item[R] | None:
        """The first whose id is not busy, which is to say in flight or in the stream before it."""
        return next((item for item in self._items if not any(item.record.id in ids for ids in busy)), None)

    def behind(self, delivery: Delivery) -> int:
        """How many came after this delivery, over the same channel."""
        return sum(item.delivery.tag > delivery.tag for item in self._items)

    def remove(self, item: Item[R]) -> None:
        """Take an item out."""
        self._items.remove(item)
        self._ids[item.record.id] -= 1
        if not self._ids[item.record.id]:
            del self._ids[item.record.id]

    def drop_expired(self) -> int:
        """Drop what came from ended channels. Returns: how many."""
        gone = [item for item in self._items if item.delivery.expired]
        for item in gone:
            self.remove(item)
        return len(gone)
