"""Decide which delivery tags may be acknowledged.

Writers finish out of order; the broker wants one number. The ledger remembers what the broker waits for, and gives the
highest tag below which nothing is missing. What was acknowledged it forgets, so that the prefetch bounds all it holds:
behind one unsettled delivery there may be millions. One ledger lives as long as one channel.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ack:
    """One `basic.ack` frame."""

    tag: int
    multiple: bool


class AckLedger:
    """Which tags of one channel are settled, and what may be acknowledged because of it.

    Pure. Tags start at 1 and have no holes: that is how a broker counts on a channel.
    """

    def __init__(self, *, prefetch: int) -> None:
        self._prefetch = prefetch
        self._received = 0
        self._highest = 0  # settled
        self._lowest = 1  # not settled; the next one to come if there is none
        self._unsettled: dict[int, float] = {}  # in order of their tags: when each arrived
        self._settled: set[int] = set()  # and not acknowledged

    def receive(self, tag: int, at: float) -> None:
        """Note that a burst ending with this tag has arrived at this monotonic time."""
        unsettled = self._unsettled
        for each in range(self._received + 1, tag + 1):
            unsettled[each] = at
        self._received = tag

    def settle(self, tags: Iterable[int]) -> None:
        """Mark tags as settled.

        Raises: ValueError if one was settled before or never received: a bug, and acknowledging it would close the
        channel.
        """
        unsettled, settled, highest = self._unsettled, self._settled, self._highest
        for tag in tags:
            if unsettled.pop(tag, None) is None:
                raise ValueError(f"tag {tag} is not outstanding (received {self._received}, prefix {self.prefix})")
            settled.add(tag)
            if tag > highest:
                highest = tag
        self._highest = highest
        self._lowest = self._lowest_from(self._lowest)

    def take(self) -> list[Ack]:
        """The acknowledgements that are due now; each is given out once."""
        settled, lowest = self._settled, self._lowest
        if not settled:
            return []
        acks: list[Ack] = []
        covered = settled if self._highest < lowest else {tag for tag in settled if tag < lowest}
        if covered:
            # Never a tag that was acknowledged before: the broker does not know it any more, and would close the
            # channel (406).
            acks.append(Ack(max(covered), multiple=True))
            settled.difference_update(covered)
        # Behind a gap (a suspect, a dead letter without its confirm) settled deliveries would fill the prefetch and
        # stop the stream; single frames cost the broker more, so only when they are half of what the gaps leave of it.
        if len(settled) * 2 > self._prefetch - self._gaps:
            acks.extend(self.take_singly())
        return acks

    def take_singly(self) -> list[Ack]:
        """Acknowledge everything settled behind a gap: it has waited long, or the channel is closed on purpose."""
        acks = [Ack(tag, multiple=False) for tag in sorted(self._settled)]
        self._settled.clear()
        return acks

    @property
    def prefix(self) -> int:
        """Every tag up to this one is settled."""
        return self._lowest - 1

    @property
    def waiting(self) -> int | None:
        """The highest settled tag, if some wait for an unsettled one before them; None if none does."""
        if self._highest < self._lowest:
            return None
        highest = max(self._settled, default=0)
        return highest if highest > self._lowest else None

    @property
    def unsettled(self) -> int:
        """How many received tags are not settled."""
        return len(self._unsettled)

    @property
    def oldest(self) -> float | None:
        """When the burst of the oldest unsettled tag arrived."""
        return self._unsettled.get(self._lowest)

    def _lowest_from(self, tag: int) -> int:
        """The lowest unsettled tag; none is below this one."""
        # With batches of one it is one of the next. Behind a gap that closes it may be millions further, and asking
        # the dictionary for its first costs what has left it from the front.
        for near in range(tag, tag + 4):
            if near in self._unsettled:
                return near
        return next(iter(self._unsettled), self._received + 1)

    @property
    def _gaps(self) -> int:
        """How many unsettled tags have settled ones above them."""
        return len(self._unsettled) - (self._received - self._highest)
