"""What must hold at every step. The first thing that does not is the simulation's violation."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from common.backoff import DEFAULT, Backoff, Jitter
from tests.simulation.messages import UNREAD, Fate, Message, Published, Record

if TYPE_CHECKING:
    from tests.simulation.channel import ModelChannel
    from tests.simulation.process import Life
    from tests.simulation.store import ModelStore
    from tests.simulation.story import Setup

OBEDIENCE = 45.0
"""Seconds after which a pause must be obeyed: a look comes every three, behind what hung for twenty with the store, and
behind the breaker's next trial, which is two seconds away by default."""
WINDOW = 10.0
"""Seconds over which the attempts on a store that is away are counted."""


def _trials(backoff: Backoff) -> int:
    """How many there are in a window at the beginning of an outage, on average."""
    share = 1.0 if backoff.jitter is Jitter.NONE else 0.5
    ends = itertools.accumulate(share * ceiling for ceiling in backoff.ceilings())
    return sum(1 for _ in itertools.takewhile(lambda end: end < WINDOW, ends))


class Ledger:
    """What the broker and the dead-letter queue hold to be finished."""

    def __init__(self) -> None:
        self.acknowledged: Counter[Message] = Counter()
        self.letters: Counter[tuple[str, bytes]] = Counter()

    def answered(self, messages: Sequence[Message]) -> None:
        """The broker has taken an acknowledgement."""
        self.acknowledged.update(messages)


class Checks:
    """Everything outside of the runtime tells what it sees; nobody in it knows of this."""

    def __init__(self, published: Published, setup: "Setup") -> None:
        self.published, self.ledger = published, Ledger()
        self.violation: str | None = None
        self.steps = 0
        self.excused: set[tuple[str, bytes]] = set()
        """Good records that a store refused for certain, before the credit was spent."""
        self.store: ModelStore
        self.told: Callable[[str], None] = lambda _: None
        self.is_told = False
        self._prefetch, self._size, self._max_bytes = setup.prefetch, setup.size, setup.max_bytes
        self._is_ordered = setup.is_ordered
        self._failures: list[float] = []
        self._turned_at = 0.0
        self._paused: dict[str, float] = {}
        """Since when each kind has been paused, and the store has been well."""
        self._resumed: dict[str, float] = {}
        # Each process probes once a second or so, by default. Before, each slot meets up to six conflicts, and each
        # suspect one.
        slots = setup.writers * setup.kinds
        trials = max(40, 3 * _trials(setup.backoff))
        self._most_failures = setup.replicas * (trials + 10 * slots + 2 * setup.prefetch * setup.kinds)
        self._obedience = OBEDIENCE + max(0.0, setup.longest_wait - DEFAULT.cap)

    def violate(self, text: str) -> None:
        """Note a violation; only the first counts."""
        if self.violation is None:
            self.violation = text
            self.tell(f"VIOLATION: {text}")

    def tell(self, text: str) -> None:
        """Add to the story."""
        if self.is_told:
            self.told(text)

    # What the source does

    def prefetch(self, count: int) -> None:
        """A prefetch was asked for."""
        if not 1 <= count <= self._prefetch:
            self.violate(f"prefetch {count} asked for, {self._prefetch} is allowed")

    def received(self, burst: int, outstanding: int) -> None:
        """Deliveries have arrived."""
        self.steps += 1
        if self.is_told:
            self.tell(f"broker gives out {burst}, {outstanding} are unanswered")
        if outstanding > self._prefetch:
            self.violate(f"{outstanding} deliveries unanswered, the prefetch is {self._prefetch}")

    def consumed(self, kind: str) -> None:
        """Deliveries of a kind have arrived over a channel to which nothing has happened."""
        since = self._paused.get(kind) if self.store.is_well else None
        if since is not None and (seconds := asyncio.get_running_loop().time() - since) > self._obedience:
            self.violate(f"{kind} has been paused for {seconds:g} s, and is consumed")

    def remembered(self, entries: int) -> None:
        """A channel's consumer holds so many entries, of deliveries, tags and acknowledgements together."""
        if entries > 4 * self._prefetch + 20:
            self.violate(f"{entries} entries remembered of a channel, the prefetch is {self._prefetch}")

    def narrowed(self, prefetch: int, seconds: float) -> None:
        """All has been well for a time, and a consumer asks for so many."""
        if prefetch < self._prefetch:
            self.violate(f"{seconds:g} s after all was well the prefetch is {prefetch} of {self._prefetch}")

    def acknowledged(self, message: Message) -> None:
        """An acknowledgement leaves the process."""
        self.steps += 1
        if self.is_told:
            self.tell(f"message {message.number} acknowledged")
        if not self.is_finished(message):
            self.violate(f"message {message.number} ({message.fate}) acknowledged, and neither stored nor set aside")

    def is_finished(self, message: Message) -> bool:
        """Whether it is stored, or beaten by one that is, or dead-lettered, or a control message."""
        content = message.kind, message.body
        return (
            message.fate is Fate.CONTROL
            or content in self.ledger.letters
            or content in self.store.committed
            or self._is_beaten(message)
        )

    def _is_beaten(self, message: Message) -> bool:
        best = self.store.best.get((message.kind, message.id))
        if best is None:
            return False
        # Else what comes later is only known by the load.
        return best > message.rank if self._is_ordered else best[0] >= message.rank[0]

    def timed_out(self, channel: "ModelChannel") -> None:
        """The broker has waited too long for an answer."""
        if not channel.was_disturbed and not channel.connection.life.is_ending and not channel.connection.is_closed:
            self.violate("the broker's consumer timeout came before the hand-back")

    # What the sink is asked

    @contextmanager
    def batch(self, life: "Life", kind: str, records: Sequence[Record]) -> Iterator[None]:
        """Records are being written."""
        self.steps += 1
        ids = {record.id for record in records}
        writing = life.writing[kind]
        if self.is_told:
            self.tell(f"{life.name} writes {kind} " + " ".join(self._numbers(kind, records)))
        if len(ids) < len(records):
            self.violate("an id twice in a batch")
        if ids & writing:
            self.violate(f"ids {sorted(ids & writing)} are in two batches at once")
        if len(records) > self._size:
            self.violate(f"{len(records)} records in a batch, {self._size} are allowed")
        if len(records) > 1 and sum(len(record.body) for record in records) > self._max_bytes:
            self.violate(f"{sum(len(record.body) for record in records)} bytes in a batch, {self._max_bytes} allowed")
        writing |= ids
        try:
            yield
        finally:
            writing -= ids

    def _numbers(self, kind: str, records: Sequence[Record]) -> list[str]:
        return [str(self.published.of(kind, record.body).number) for record in records]

    def paused(self, kind: str) -> None:
        """An operator has paused a kind."""
        self._paused[kind] = asyncio.get_running_loop().time()

    def resumed(self, kind: str) -> None:
        """An operator has it go on."""
        if self._paused.pop(kind, None) is not None:
            self._resumed[kind] = asyncio.get_running_loop().time()

    def may_be_paused(self, kind: str) -> bool:
        """Whether a process may have read that a kind is paused, and not yet that it is no longer."""
        since = self._resumed.get(kind)
        return kind in self._paused or (
            since is not None and asyncio.get_running_loop().time() < max(since, self._turned_at) + self._obedience
        )

    def turned(self) -> None:
        """Something else is the matter with the store: whoever looks may have to wait, for as long again."""
        self._turned_at = asyncio.get_running_loop().time()
        self._paused = dict.fromkeys(self._paused, self._turned_at)

    def calm(self) -> None:
        """The store has changed, or a process has begun: count failures again."""
        self._failures.clear()

    def failed(self) -> None:
        """A write met a store that takes none."""
        now = asyncio.get_running_loop().time()
        self._failures = [at for at in self._failures if at > now - WINDOW] + [now]
        if len(self._failures) > self._most_failures:
            self.violate(f"{len(self._failures)} attempts in {WINDOW:g} s on a store that is away: it spins")

    def batch_taken(self, size: int) -> None:
        """A writer has taken a batch off the stream."""
        if size > self._size:
            self.violate(f"{size} records taken for a batch, {self._size} are allowed")

    def batch_size_limit(self, records: int) -> None:
        """The size in use."""
        if not 1 <= records <= self._size:
            self.violate(f"the batch size in use is {records}, {self._size} are allowed")

    # What is set aside

    def dead_lettered(self, kind: str, body: bytes, headers: dict[str, Any]) -> None:
        """A letter is safe with the broker."""
        self.steps += 1
        message = self.published.of(kind, body)
        if self.is_told:
            self.tell(f"message {message.number} dead-lettered: {headers.get('x-spindle-reason')}")
        self.ledger.letters[kind, body] += 1
        if message.fate in UNREAD or message.is_bad:
            return
        if (kind, body) in self.store.wrongly_refused:
            self.excused.add((kind, body))
        else:
            self.violate(f"message {message.number} dead-lettered ({headers}), and the store would have taken it")
