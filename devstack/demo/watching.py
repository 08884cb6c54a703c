"""Tell when both services are done with a load. Pure: time and counts come from outside.

Done is when the outcomes of every kind sum to what was published, in each service. An empty queue is no proof: what is
not in the queue may be in a batch, or nowhere.
"""

from collections.abc import Iterator, Mapping, Sequence

from devstack.demo.counters import Movement

PATIENCE = 120.0
"""Seconds without a single record settled after which nobody waits any longer."""

QUIET_AFTER_RESTART = 10.0
"""Seconds without work after which a service that was restarted counts as done: some of its counts died with it."""


class Watch:
    """How far the services have come. Times are seconds of one clock; kinds and services are those that take part."""

    def __init__(self, movement: Movement, *, services: Sequence[str], kinds: Sequence[str], now: float) -> None:
        self._movement = movement
        self._pairs = [(service, kind) for kind in kinds for service in services]
        self._settled = dict.fromkeys(self._pairs, 0)
        self._changed = dict.fromkeys(self._pairs, now)
        self._busy = dict.fromkeys(services, now)
        self._progress = now

    def look(self, now: float) -> None:
        """Note who has moved since the last look."""
        for pair in self._pairs:
            settled = self._movement.settled(*pair)
            if settled != self._settled[pair]:
                self._settled[pair] = settled
                self._changed[pair] = self._progress = now
        for service in self._busy:
            if not self._movement.idle(service):
                self._busy[service] = now

    def keep_alive(self, now: float) -> None:
        """Note progress of another sort, such as a record published."""
        self._progress = now

    def is_done(self, published: Mapping[str, int], now: float) -> bool:
        """Whether everything published has come to an end in every service."""
        return all(self._is_done(pair, published, now) for pair in self._pairs)

    def is_stuck(self, now: float) -> bool:
        """Whether nothing has happened for too long."""
        return now - self._progress >= PATIENCE

    def last_outcome(self, service: str, kind: str) -> float:
        """When the last record of a kind was seen to have come to its end."""
        return self._changed[service, kind]

    def behind(self, published: Mapping[str, int], now: float) -> Iterator[str]:
        """Who is not done, for a sentence."""
        for service, kind in self._pairs:
            if not self._is_done((service, kind), published, now):
                yield f"{service} has settled {self._settled[service, kind]:,} of {published[kind]:,} {kind}"

    def _is_done(self, pair: tuple[str, str], published: Mapping[str, int], now: float) -> bool:
        service, kind = pair
        if self._settled[pair] >= published[kind]:
            return True
        quiet = now - max(self._changed[pair], self._busy[service])
        return service in self._movement.restarted and quiet >= QUIET_AFTER_RESTART
