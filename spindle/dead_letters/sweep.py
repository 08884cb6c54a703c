"""Go through the dead-letter queues of the chosen services and kinds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from common.errors import SpindleError
from common.kinds import Names, Service
from common.rabbitmq.ops.queue_reader import StoredLetter
from common.rabbitmq.ops.rotation import Drop, Fate, Keep, glance, turn
from common.settings.programs import BrokerSettings
from spindle.dead_letters.choosing import Choice
from spindle.dead_letters.letter import Letter, read

_GLANCE = 10_000
"""Letters of a queue that are looked at without copying: they are all held at once."""


class Interrupted(SpindleError):
    """The broker was lost on the way; every letter is still there, and the command can be run again."""


@dataclass(slots=True)
class Passage:
    """One way through the queues. `on_done`: told of each queue's name, letters done, letters there."""

    broker: BrokerSettings
    names: Names
    choice: Choice
    copying: bool = True
    pace: float = 0.0
    window: int = 64
    on_done: Callable[[str, int, int], None] = lambda _queue, _done, _total: None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    newest_load: str | None = None
    """Of all letters met so far, chosen or not."""
    twins: int = 0
    """Copies that an interrupted turn had left, dropped."""
    beyond: int = 0
    """Letters that a look without copying did not get to."""

    async def go(self, judge: Callable[[Letter], Fate]) -> None:
        """Have every chosen letter judged, in order; all others stay.

        Raises: BrokerUnavailable, StartRefused.
        """
        for service, kind in self._places():
            queue = self.names.dead_letter_queue(service, kind)
            judging = self._judging(service, kind, judge)
            if self.copying:
                report = _on_done_of(self.on_done, queue)
                await turn(self.broker, queue, judging, pace=self.pace, window=self.window, on_done=report)
            else:
                total = await glance(self.broker, queue, judging, limit=_GLANCE)
                self.beyond += max(0, (total or 0) - _GLANCE)

    def _places(self) -> Iterator[tuple[Service, str]]:
        return ((service, kind) for service in self.choice.services for kind in self.choice.kinds)

    def _judging(self, service: Service, kind: str, judge: Callable[[Letter], Fate]) -> Callable[[StoredLetter], Fate]:
        met: set[tuple[str, bytes]] = set()

        def judging(stored: StoredLetter) -> Fate:
            letter = read(stored, service, kind)
            if letter.number:
                if letter.mark in met:
                    self.twins += 1
                    return Drop()
                met.add(letter.mark)
            self.newest_load = max(self.newest_load or "", letter.load or "") or None
            return judge(letter) if self.choice.takes(letter, self.now) else Keep()

        return judging


def _on_done_of(on_done: Callable[[str, int, int], None], queue: str) -> Callable[[int, int], None]:
    return lambda done, total: on_done(queue, done, total)
