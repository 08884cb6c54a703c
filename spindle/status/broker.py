"""What the broker says of our queues: lengths by AMQP, exact and of this moment; the rest by its management API.

The management API is a second way to the lengths too, but what it tells is up to five seconds old, and of a new queue
nothing at all.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from common.errors import BrokerUnavailable, StartRefused
from common.kinds import Names, Service
from common.rabbitmq.connection import connected
from common.rabbitmq.policies import troubles
from common.rabbitmq.topology import queue_lengths
from spindle.management import Management, NoManagement, limits_of
from spindle.settings import OperatorSettings

ALARMS = {"mem_alarm": "memory", "disk_free_alarm": "disk"}


@dataclass(frozen=True, slots=True)
class QueueState:
    """One queue's messages; None if the broker does not tell."""

    ready: int | None
    unacknowledged: int | None = None


@dataclass(frozen=True, slots=True)
class BrokerState:
    """The broker, and those of our queues that exist, by name."""

    address: str
    asked_by: tuple[str, ...] = ()
    """`amqp`, `management`, or both; empty if it can't be reached."""
    trouble: str = ""
    queues: Mapping[str, QueueState] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()
    """What the broker lacks while it blocks publishers: memory, disk."""
    deleting: tuple[str, ...] = ()
    """A sentence for each policy, or argument, that deletes messages of ours."""

    @property
    def is_reachable(self) -> bool:
        """Whether it can be asked."""
        return bool(self.asked_by)


@dataclass(frozen=True, slots=True)
class Told:
    """What one way of asking brought."""

    queues: Mapping[str, QueueState] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()
    trouble: str = ""
    deleting: tuple[str, ...] = ()


async def look_at_broker(settings: OperatorSettings) -> BrokerState:
    """Ask both ways at the same time; what can't be had raises nothing."""
    async with asyncio.TaskGroup() as group:
        amqp = group.create_task(_by_amqp(settings))
        management = group.create_task(asyncio.to_thread(_by_management, settings))
    return combined(settings.broker.address, amqp=amqp.result(), management=management.result())


def combined(address: str, *, amqp: Told, management: Told) -> BrokerState:
    """One state of two: lengths by AMQP where that answers."""
    ways = {"amqp": amqp, "management": management}
    asked_by = tuple(name for name, told in ways.items() if not told.trouble)
    if not asked_by:
        return BrokerState(address, trouble=f"{amqp.trouble}; {management.trouble}")
    lengths = management.queues if amqp.trouble else amqp.queues
    queues = {
        name: QueueState(state.ready, management.queues.get(name, state).unacknowledged)
        for name, state in lengths.items()
    }
    return BrokerState(address, asked_by, queues=queues, alarms=management.alarms, deleting=management.deleting)


def our_queues(names: Names, kinds: Sequence[str]) -> list[str]:
    """The queues of both services, and their dead-letter queues."""
    queues = [(service, kind) for service in Service for kind in kinds]
    return [*(names.queue(*each) for each in queues), *(names.dead_letter_queue(*each) for each in queues)]


async def _by_amqp(settings: OperatorSettings) -> Told:
    try:
        async with connected(settings.broker, name="spindle status") as connection:
            lengths = await queue_lengths(connection, our_queues(settings.names, settings.kinds))
    except (BrokerUnavailable, StartRefused) as error:
        return Told(trouble=str(error))
    return Told({name: QueueState(length) for name, length in lengths.items() if length is not None})


def _by_management(settings: OperatorSettings) -> Told:
    management = Management.of(settings)
    try:
        told = management.queues(settings.discogs_exchange_prefix)
    except NoManagement as error:
        return Told(trouble=str(error))
    queues = {
        name: QueueState(told[name].get("messages_ready"), told[name].get("messages_unacknowledged"))
        for name in our_queues(settings.names, settings.kinds)
        if name in told
    }
    limits = [limits_of(told[name]) for name in queues]
    deleting = tuple(trouble.sentence for trouble in troubles(limits) if trouble.deletes)
    return Told(queues, _alarms(management), deleting=deleting)


def _alarms(management: Management) -> tuple[str, ...]:
    try:
        nodes = management.nodes()
    except NoManagement:  # it needs more rights than queues do; the services notice a block too
        return ()
    return tuple(word for alarm, word in ALARMS.items() if any(node.get(alarm) for node in nodes))
