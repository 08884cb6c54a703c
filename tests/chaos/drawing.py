"""What happens in a run: drawn from the seed and the run's number alone, so that a run can be had again."""

import random
from dataclasses import dataclass
from enum import StrEnum

from common.kinds import KINDS, Service

SERVERS = ("rabbitmq", "postgres", "neo4j")
SECONDS = 4.0
"""For how long a run's records are published; its faults begin meanwhile."""


_POOLED = 1 / 3


class Kind(StrEnum):
    """What can go wrong."""

    RESET = "connections reset"
    STALL = "network stalled"
    LATENCY = "network slow to answer"
    BANDWIDTH = "network narrow"
    HALF_OPEN = "connections half open"
    SERVICE_KILLED = "service killed"
    SERVICE_STOPPED = "service stopped"
    SERVER_KILLED = "server killed"
    SERVER_RESTARTED = "server restarted"
    QUEUE_DELETED = "queue deleted, consumer cancelled"
    CONNECTIONS_CLOSED = "connections closed by the operator"
    LOGIN_REVOKED = "login revoked"
    TABLE_AWAY = "table away"
    DISK_FULL = "disk full"
    READ_ONLY = "server read-only"
    MEMORY_ALARM = "memory alarm"
    DEADLOCKS = "deadlocks"
    SWITCHOVER = "switchover"


_WEIGHTS = dict.fromkeys(Kind, 1.0) | {
    Kind.SERVICE_KILLED: 2.0,
    Kind.SERVER_KILLED: 0.7,
    Kind.SERVER_RESTARTED: 0.7,
}
# Of each kind. A server's start takes: PostgreSQL's 1 s, RabbitMQ's 6 s, Neo4j's 13 s.
_STARTS = {"postgres": 1.0, "rabbitmq": 0.4, "neo4j": 0.15}
_ANY_SERVER = dict.fromkeys(SERVERS, 1.0)
_ANY_SERVICE = dict.fromkeys(map(str, Service), 1.0)
_PLACES: dict[Kind, dict[str, float]] = {
    Kind.RESET: _ANY_SERVER,
    Kind.STALL: _ANY_SERVER,
    Kind.LATENCY: _ANY_SERVER,
    Kind.BANDWIDTH: _ANY_SERVER,
    Kind.HALF_OPEN: _ANY_SERVER,
    Kind.SERVICE_KILLED: _ANY_SERVICE,
    Kind.SERVICE_STOPPED: _ANY_SERVICE,
    Kind.SERVER_KILLED: _STARTS,
    Kind.SERVER_RESTARTED: _STARTS,
    Kind.QUEUE_DELETED: _ANY_SERVICE,
    Kind.CONNECTIONS_CLOSED: {"rabbitmq": 1.0},
    Kind.LOGIN_REVOKED: {"postgres": 1.0, "rabbitmq": 1.0},
    Kind.TABLE_AWAY: {"postgres": 1.0},
    Kind.DISK_FULL: {"postgres": 1.0},
    Kind.READ_ONLY: {"postgres": 1.0},
    Kind.MEMORY_ALARM: {"rabbitmq": 1.0},
    Kind.DEADLOCKS: {"postgres": 1.0, "neo4j": 1.0},
    Kind.SWITCHOVER: {"postgres": 1.0},
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: where, when (seconds since the first record), for how long, and on which kind's queue or table."""

    kind: Kind
    where: str
    at: float
    lasts: float
    record_kind: str
    strength: float
    """0 to 1: how slow or narrow a network is."""

    @property
    def services(self) -> set[Service]:
        """Those who notice."""
        both = {
            "rabbitmq": set(Service),
            "postgres": {Service.TABLEINATOR},
            "neo4j": {Service.GRAPHINATOR},
        }
        return both.get(self.where) or {Service(self.where)}

    @property
    def is_outage(self) -> bool:
        """Whether there is a moment from which on all is well again, so that recovering can be timed."""
        return self.kind in _OUTAGES and self.where in SERVERS


_OUTAGES = {
    Kind.RESET,
    Kind.STALL,
    Kind.SERVER_KILLED,
    Kind.SERVER_RESTARTED,
    Kind.LOGIN_REVOKED,
    Kind.TABLE_AWAY,
    Kind.DISK_FULL,
    Kind.READ_ONLY,
    Kind.SWITCHOVER,
}


@dataclass(frozen=True, slots=True)
class Story:
    """One run."""

    seed: int
    run: int
    records: int
    months: int
    """2: the second half of what is published are the same records a month later."""
    bad: int
    faults: tuple[Fault, ...]
    is_pooled: bool = False
    """Whether PgBouncer stands before PostgreSQL, in session mode."""

    @property
    def dice(self) -> str:
        """What everything else in the run is drawn from."""
        return f"{self.seed}:{self.run}"


def warm_up(seed: int) -> Story:
    """A run in which nothing happens: servers that have just started take seconds for what they do first."""
    return Story(seed, run=-1, records=500, months=2, bad=5, faults=())


def draw(seed: int, run: int) -> Story:
    """Draw a run."""
    rng = random.Random(f"chaos {seed}:{run}")
    share = rng.choices(["none", "lone", "1%", "50%"], weights=[25, 35, 30, 10])[0]
    records = rng.randint(500, 800) if share == "50%" else rng.randint(1_500, 3_000)
    bad = {"none": 0, "lone": max(1, records // 10_000), "1%": records // 100, "50%": records}[share]
    count = rng.choices([1, 2, 3, 4], weights=[3, 3, 2, 1])[0]
    faults = sorted((_fault(rng) for _ in range(count)), key=lambda fault: fault.at)
    months = rng.choices([1, 2], weights=[2, 1])[0]
    return Story(seed, run, records, months, bad, tuple(faults), is_pooled=rng.random() < _POOLED)


def _fault(rng: random.Random) -> Fault:
    kind = rng.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()))[0]
    places = _PLACES[kind]
    where = rng.choices(list(places), weights=list(places.values()))[0]
    at, lasts = rng.uniform(0.1, 0.8 * SECONDS), rng.uniform(0.3, 3.0)
    return Fault(kind, where, round(at, 2), round(lasts, 2), rng.choice(KINDS), round(rng.random(), 2))
