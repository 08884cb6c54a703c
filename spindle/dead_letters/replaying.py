"""Send dead letters back to the queues that they came from."""

from collections.abc import Callable
from dataclasses import dataclass, field

from common.kinds import Names
from common.rabbitmq.ops.fates import Fate, Keep, Send
from spindle.dead_letters.letter import Letter, to_replay


@dataclass(slots=True)
class Replay:
    """Judges each letter, and counts what became of it."""

    names: Names
    newest_load: str | None
    force: bool = False
    limit: int | None = None
    on_replayed: Callable[[], None] = lambda: None
    replayed: int = 0
    failed_again: int = 0
    """Those among them that had been replayed before."""
    refused: int = 0
    """The queue did not take them, or there is none: they stay."""
    outdated: int = 0
    """Older than the newest load, and so left."""
    left: int = 0
    """Beyond the limit."""
    _begun: int = field(default=0)

    def judge(self, letter: Letter) -> Fate:
        """Send it back, unless something speaks against it."""
        if self.is_outdated(letter):
            self.outdated += 1
            return Keep()
        if self.limit is not None and self._begun >= self.limit:
            self.left += 1
            return Keep()
        self._begun += 1
        queue = self.names.queue(letter.service, letter.kind)
        return Send(queue, to_replay(letter), done=lambda taken: self._sent(letter, taken))

    def is_outdated(self, letter: Letter) -> bool:
        """Whether a newer load has been seen: what it did away with would come back."""
        if self.force or not letter.load or not self.newest_load:
            return False
        return letter.load < self.newest_load

    def _sent(self, letter: Letter, taken: bool) -> None:
        if not taken:
            self.refused += 1
            return
        self.replayed += 1
        self.failed_again += letter.replays > 0
        self.on_replayed()
