"""Where the model takes the place of the world: the few names through which the runtime reaches it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import common.batching.batch_size
import common.consumer
import common.quarantine.quarantine
import common.rabbitmq.connection
import common.rabbitmq.consuming.source
import common.rabbitmq.publishing.confirms
import common.rabbitmq.publishing.dead_letters
from common.quarantine.evidence import Credit
from common.storing.breaker import Breaker
from tests.simulation import broker, connection

if TYPE_CHECKING:
    from tests.simulation.world import World


class Log:
    """Takes the place of every log; into the story, if one is told."""

    def __init__(self, world: "World") -> None:
        self._checks = world.checks

    def bind(self, **_: object) -> "Log":
        return self

    def __getattr__(self, level: str) -> Any:
        return self._say if self._checks.is_told else _silent

    def _say(self, event: str, **facts: object) -> None:
        self._checks.tell(f"log: {event} " + " ".join(f"{name}={value}" for name, value in facts.items()))


def _silent(*_: object, **__: object) -> None:
    return


@contextmanager
def installed(world: "World") -> Iterator[None]:
    """Run the real runtime against a world."""
    places: list[tuple[Any, str, Any]] = [
        (common.rabbitmq.connection, "connect", connection.connect),
        (common.rabbitmq.consuming.source, "declare", broker.declare),
        (common.rabbitmq.consuming.source, "open_channel", connection.open_channel),
        (common.rabbitmq.publishing.confirms, "open_channel", connection.open_channel),
        (common.rabbitmq.publishing.dead_letters, "declare_dead_letters", broker.declare_dead_letters),
        (common.consumer, "KindMetrics", world.tally),
        (common.consumer, "Breaker", partial(Breaker, rng=world.rng)),
        (common.batching.batch_size, "LEAST", 1),  # the simulated batches are smaller than what is worth adapting
        (common.quarantine.quarantine, "Credit", partial(Credit, most=world.story.setup.flood - 1)),
    ]
    log = Log(world)
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("common.")]
    places += [(module, "log", log) for module in modules if hasattr(module, "log")]
    before = [(place, name, getattr(place, name)) for place, name, _ in places]
    try:
        for place, name, stand_in in places:
            setattr(place, name, stand_in)
        yield
    finally:
        for place, name, real in before:
            setattr(place, name, real)
