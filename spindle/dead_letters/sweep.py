"""Go through the dead-letter queues of the chosen services and kinds."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from common.errors import StartRefused
from common.kinds import Names, Service
from common.rabbitmq.ops.fates import Fate, Keep
from common.rabbitmq.ops.holding import RENEWED_AT
from common.rabbitmq.ops.queue_reader import StoredLetter
from common.rabbitmq.ops.rotation import WINDOW, Passed, Way, go_through
from common.rabbitmq.policies import QueueLimits
from common.settings.programs import BrokerSettings
from spindle.dead_letters.choosing import Choice
from spindle.dead_letters.letter import Letter, read


@dataclass(slots=True)
class Passage:
    """One way through the queues. `on_done`: told of each queue's name, letters done, letters there."""

    broker: BrokerSettings
    names: Names
    choice: Choice
    copying: bool = True
    pace: float = 0.0
    window: int = WINDOW
    limits: Mapping[str, QueueLimits] = field(default_factory=dict)
    """What policies make of the queues, by name, as far as is known."""
    on_done: Callable[[str, int, int], None] = lambda _queue, _done, _total: None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    newest_load: str | None = None
    """Of all letters met so far, chosen or not."""
    twins: int = 0
    """Letters that an interrupted pass had left twice, of which one was dropped."""
    said: list[str] = field(default_factory=list)
    """A sentence for each queue in which letters could not be copied in their order."""

    async def go(self, judge: Callable[[Letter], Fate]) -> None:
        """Have every chosen letter judged once, in order; all others stay.

        Raises: BrokerUnavailable, StartRefused.
        """
        for service, kind in self._places():
            queue = self.names.dead_letter_queue(service, kind)
            on_done = _on_done_of(self.on_done, queue)
            passed = await go_through(
                self.broker, queue, self._judging(service, kind, judge), self._way(queue), on_done=on_done
            )
            if passed is not None:
                self._note(queue, passed)

    def _way(self, queue: str) -> Way:
        limits = self.limits.get(queue, QueueLimits(queue))
        limit = limits.delivery_limit
        if not self.copying:
            if limit is not None:
                why = f"what is given back more than {limit} times is deleted ({limits.cause('delivery-limit')})"
                raise StartRefused(f"{queue}: {why}, and a look without copying gives every letter back.")
            return Way(self.window, self.pace, disorder="asked for", renewed_at=None)
        renewed_at = RENEWED_AT if limit is None else max(1, min(RENEWED_AT, limit // 2))
        return Way(self.window, self.pace, disorder=limits.disorder, renewed_at=renewed_at)

    def _note(self, queue: str, passed: Passed) -> None:
        self.twins += passed.twins
        if passed.disorder and self.copying:
            self.said.append(
                f"{queue} is not first in, first out ({passed.disorder}): its letters were held instead of copied. "
                "None is lost; the broker counts each as delivered once more, and their order may have changed."
            )

    def _places(self) -> Iterator[tuple[Service, str]]:
        return ((service, kind) for service in self.choice.services for kind in self.choice.kinds)

    def _judging(self, service: Service, kind: str, judge: Callable[[Letter], Fate]) -> Callable[[StoredLetter], Fate]:
        def judging(stored: StoredLetter) -> Fate:
            letter = read(stored, service, kind)
            self.newest_load = max(self.newest_load or "", letter.load or "") or None
            return judge(letter) if self.choice.takes(letter, self.now) else Keep()

        return judging


def _on_done_of(on_done: Callable[[str, int, int], None], queue: str) -> Callable[[int, int], None]:
    return lambda done, total: on_done(queue, done, total)
