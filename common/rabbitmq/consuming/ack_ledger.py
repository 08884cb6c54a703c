"""Decide which delivery tags may be acknowledged.

Writers finish out of order; the broker wants one number. The ledger remembers what is settled and gives the highest
tag below which nothing is missing. One ledger lives as long as one channel.
"""

from collections import deque
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
        self._prefix = 0  # every tag up to here is settled
        self._beyond: set[int] = set()  # settled above the prefix, not yet acknowledged
        self._singly: set[int] = set()  # settled above the prefix and acknowledged singly
        self._passed: set[int] = set()  # acknowledged singly, and since the last acknowledgements part of the prefix
        self._acknowledged = 0  # the highest tag a multiple acknowledgement has covered
        self._arrivals: deque[tuple[int, float]] = deque()  # (last tag of a burst, when it arrived)

    def receive(self, tag: int, at: float) -> None:
        """Note that a burst ending with this tag has arrived at this monotonic time."""
        self._received = tag
        self._arrivals.append((tag, at))

    def settle(self, tags: Iterable[int]) -> None:
        """Mark tags as settled.

        Raises: ValueError if one was settled before or never received: a bug, and acknowledging it would close the
        channel.
        """
        beyond = self._beyond
        for tag in tags:
            if tag <= self._prefix or tag in beyond or tag in self._singly or tag > self._received:
                raise ValueError(f"tag {tag} is not outstanding (received {self._received}, prefix {self._prefix})")
            beyond.add(tag)
            self._highest = max(self._highest, tag)
        self._advance()

    def take(self) -> list[Ack]:
        """The acknowledgements that are due now; each is given out once."""
        acks: list[Ack] = []
        highest = self._highest_outstanding()
        if highest:
            acks.append(Ack(highest, multiple=True))
        self._acknowledged = self._prefix
        self._passed.clear()
        # Behind a gap (a suspect, a dead letter without its confirm) settled deliveries would fill the prefetch and
        # stop the stream; single frames cost the broker more, so only when they are half of what the gaps leave of it.
        if len(self._beyond) * 2 > self._prefetch - self._gaps:
            acks.extend(self.take_singly())
        return acks

    def take_singly(self) -> list[Ack]:
        """Acknowledge everything settled behind a gap: it has waited long, or the channel is closed on purpose."""
        acks = [Ack(tag, multiple=False) for tag in sorted(self._beyond)]
        self._singly |= self._beyond
        self._beyond.clear()
        return acks

    @property
    def prefix(self) -> int:
        """Every tag up to this one is settled."""
        return self._prefix

    @property
    def waiting(self) -> int | None:
        """The highest settled tag, where some wait for an unsettled one before them; None where none does."""
        return self._highest if self._beyond else None

    @property
    def unsettled(self) -> int:
        """How many received tags are not settled."""
        return self._received - self._prefix - len(self._beyond) - len(self._singly)

    @property
    def oldest(self) -> float | None:
        """When the burst of the oldest unsettled tag arrived."""
        return self._arrivals[0][1] if self._arrivals else None

    @property
    def _gaps(self) -> int:
        """How many unsettled tags have settled ones above them."""
        return self._highest - self._prefix - len(self._beyond) - len(self._singly)

    def _advance(self) -> None:
        """Move the prefix over everything that is settled."""
        tag = self._prefix + 1
        while True:
            if tag in self._beyond:
                self._beyond.discard(tag)
            elif tag in self._singly:
                self._singly.discard(tag)
                self._passed.add(tag)
            else:
                break
            tag += 1
        self._prefix = tag - 1
        while self._arrivals and self._arrivals[0][0] <= self._prefix:
            self._arrivals.popleft()

    def _highest_outstanding(self) -> int:
        """The highest tag of the prefix that the broker still waits for; 0 if none.

        A tag acknowledged singly is unknown to the broker, and naming it would close the channel (406).
        """
        tag = self._prefix
        while tag > self._acknowledged and tag in self._passed:
            tag -= 1
        return tag if tag > self._acknowledged else 0
