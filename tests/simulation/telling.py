"""What the runtime logs: into the story, if one is told, and else nowhere."""

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from tests.simulation.world import World

_NOTHING = structlog.make_filtering_bound_logger(logging.CRITICAL)


@contextmanager
def logs_told(world: "World") -> Iterator[None]:
    """Have all that is logged meanwhile told."""
    checks = world.checks

    def tell(_: object, __: str, line: MutableMapping[str, Any]) -> Any:
        event = line.pop("event")
        checks.tell(f"log: {event} " + " ".join(f"{name}={value}" for name, value in line.items()))
        raise structlog.DropEvent

    before = structlog.get_config()
    if checks.is_told:
        structlog.configure(processors=[tell], wrapper_class=structlog.BoundLogger)
    else:
        structlog.configure(wrapper_class=_NOTHING)
    try:
        yield
    finally:
        structlog.configure(**before)
