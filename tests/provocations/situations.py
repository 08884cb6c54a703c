"""What a situation is, and the list of all: each is a function that makes it, and that stands for as long as its block.

@provoked("what was done", Limit.STORE, of=(TABLES,))
async def slow_store(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    yield            # meanwhile `spindle advise` watches
"""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from common.kinds import Service
from spindle.advice.limits import Limit
from tests.provocations.stage import Stage

TABLES, GRAPH = (Service.TABLEINATOR,), (Service.GRAPHINATOR,)
BOTH = (*TABLES, *GRAPH)

SECONDS = 8
"""How long is watched: at least a thousand records of whatever is slow, and twenty samples of its transactions."""


@dataclass(frozen=True, slots=True)
class Situation:
    """One service in one situation. `expected`: what must be found; of a healthy service, its verdict."""

    name: str
    service: Service
    how: str
    expected: Limit
    beside: Collection[Limit]
    """What may be found with it."""
    seconds: int
    make: Callable[[Stage], AbstractAsyncContextManager[None]]

    @property
    def full_name(self) -> str:
        """What `--only` takes, as well as the name alone."""
        return f"{self.service}/{self.name}"


SITUATIONS: list[Situation] = []

Making = Callable[[Stage], AsyncIterator[None]]


def provoked(
    how: str,
    expected: Limit,
    *,
    of: Collection[Service],
    beside: Collection[Limit] = (),
    seconds: int = SECONDS,
) -> Callable[[Making], Making]:
    """Put a function on the list, once for each service."""

    def put(making: Making) -> Making:
        name, make = making.__name__.replace("_", "-"), asynccontextmanager(making)
        SITUATIONS.extend(Situation(name, service, how, expected, beside, seconds, make) for service in of)
        return making

    return put
