"""The stream of one kind: what no writer has begun, in order of arrival, and which ids are in flight. Pure."""

from collections import deque
from collections.abc import Iterable
from typing import Generic

from common.batching.batch import Barrier, Item
from common.sink import R


class Stream(Generic[R]):
    """A run of it may be taken as long as none of its ids is in flight: so versions of one id keep their order."""

    def __init__(self) -> None:
        self._waiting: deque[Item[R] | Barrier] = deque()
        self._in_flight: dict[str, int] = {}
        self.bytes = 0
        """Bytes of all bodies that wait."""
        self.barriers = 0
        """How many of those that wait are control messages."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def head(self) -> Item[R] | Barrier:
        """What waits first."""
        return self._waiting[0]

    @property
    def ids(self) -> set[str]:
        """The ids of the records that wait."""
        return {item.record.id for item in self._waiting if isinstance(item, Item)}

    @property
    def in_flight(self) -> dict[str, int]:
        """Which ids are in flight; to be read only."""
        return self._in_flight

    def append(self, item: Item[R] | Barrier) -> None:
        """Let it wait behind all others."""
        self._waiting.append(item)
        self.bytes += len(item.delivery.body)
        self.barriers += isinstance(item, Barrier)

    def drop_head(self) -> None:
        """Let the first one go."""
        self._forget(self._waiting.popleft())

    def clear(self) -> int:
        """Let all go that wait. Returns: how many."""
        left = len(self._waiting)
        self._waiting.clear()
        self.bytes = self.barriers = 0
        return left

    def drop_expired(self) -> int:
        """Let go what came from ended channels. Returns: how many."""
        gone = [item for item in self._waiting if item.delivery.expired]
        if gone:
            self._waiting = deque(item for item in self._waiting if not item.delivery.expired)
        for item in gone:
            self._forget(item)
        return len(gone)

    def take_run(self, *, size: int, max_bytes: int) -> tuple[list[Item[R]], bool]:
        """Take the longest run that fits a batch and touches nothing in flight; its head is known to be free.

        Returns: the run, and whether it is its bytes that ended it.
        """
        run: list[Item[R]] = []
        held = 0
        while self._waiting and len(run) < size:
            head = self._waiting[0]
            if isinstance(head, Barrier) or head.record.id in self._in_flight:
                break
            held += len(head.delivery.body)
            if run and held > max_bytes:
                break
            self.drop_head()
            run.append(head)
        self.begin(run)
        return run, held >= max_bytes

    def take_ahead(self) -> Item[R] | None:
        """Take the first record that has nothing of its id before it."""
        passed: set[str] = set()
        for position, item in enumerate(self._waiting):
            if isinstance(item, Barrier):
                continue
            if item.record.id not in self._in_flight and item.record.id not in passed:
                del self._waiting[position]
                self._forget(item)
                self.begin([item])
                return item
            passed.add(item.record.id)
        return None

    def begin(self, items: Iterable[Item[R]]) -> None:
        """These are in flight from now on."""
        in_flight = self._in_flight
        for item in items:
            record_id = item.record.id
            in_flight[record_id] = in_flight.get(record_id, 0) + 1

    def done(self, items: Iterable[Item[R]]) -> None:
        """These are in flight no longer."""
        in_flight = self._in_flight
        for item in items:
            record_id = item.record.id
            left = in_flight[record_id] - 1
            if left:
                in_flight[record_id] = left
            else:
                del in_flight[record_id]

    def _forget(self, item: Item[R] | Barrier) -> None:
        self.bytes -= len(item.delivery.body)
        self.barriers -= isinstance(item, Barrier)
