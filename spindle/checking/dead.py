"""Which ids of a load are among a service's dead letters, by the letters' headers.

Looked at as `spindle dead-letters` does: every letter stays, in its order, and none comes closer to a delivery limit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from common.kinds import Names, Service
from common.rabbitmq.ops.fates import Fate, Keep
from common.rabbitmq.policies import QueueLimits
from common.settings.programs import BrokerSettings
from spindle.checking.classes import number_of
from spindle.checking.id_set import IdSet
from spindle.dead_letters.choosing import Choice
from spindle.dead_letters.letter import Letter
from spindle.dead_letters.sweep import Passage

SERVICES: Mapping[str, Service] = {"postgresql": Service.TABLEINATOR, "neo4j": Service.GRAPHINATOR}
"""The service that writes to each store."""


@dataclass(slots=True)
class DeadLetters:
    """What the dead letters of one service and kind say about a load."""

    ids: IdSet = field(default_factory=IdSet)
    """Of this load."""
    older: int = 0
    """Letters of an earlier load, or of none: one that is replayed would come back over what was removed."""
    nameless: int = 0
    """Letters of this load without an id that a manifest could have."""


async def dead_letters_of(
    broker: BrokerSettings,
    names: Names,
    *,
    store: str,
    kind: str,
    load: str,
    limits: Mapping[str, QueueLimits],
    on_done: Callable[[str, int, int], None] = lambda _queue, _done, _total: None,
) -> DeadLetters:
    """Look at every dead letter of a kind once.

    Raises: BrokerUnavailable, StartRefused.
    """
    found = DeadLetters()

    def see(letter: Letter) -> Fate:
        if letter.load is None or letter.load < load:
            found.older += 1
        elif letter.load == load:
            number = number_of(letter.id) if letter.id else None
            if number is None:
                found.nameless += 1
            else:
                found.ids.add(number)
        return Keep()

    choice = Choice(services=(SERVICES[store],), kinds=(kind,))
    await Passage(broker, names, choice, limits=limits, on_done=on_done).go(see)
    return found
