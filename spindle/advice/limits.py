"""What can be found of a service."""

from dataclasses import dataclass
from enum import StrEnum

from common.kinds import Service
from spindle.advice.evidence import Evidence
from spindle.advice.meters import Meters

VARIABLES = {Service.TABLEINATOR: "POSTGRES", Service.GRAPHINATOR: "NEO4J"}
"""How the names of a service's settings of its store begin."""


class Limit(StrEnum):
    """What can be found; the names are stable. The first two limit nothing: they are a healthy service's verdict."""

    NOTHING_TO_DO = "nothing_to_do"
    PUBLISHER = "publisher"

    STORE_AWAY = "store_away"
    STOPPED = "stopped"
    STANDSTILL = "standstill"
    BROKER_ALARM = "broker_alarm"
    RETRIES = "retries"
    DEAD_LETTERS = "dead_letters"
    DUPLICATES = "duplicates"
    STORE = "store"
    STORE_CPU = "store_cpu"
    STORE_LOCKS = "store_locks"
    STORE_DISK = "store_disk"
    CHECKPOINT = "checkpoint"
    ROUND_TRIPS = "round_trips"
    CPU = "cpu"
    BALANCED = "balanced"
    LOOP_LAG = "loop_lag"
    BYTES = "bytes"
    PREFETCH = "prefetch"
    BATCHES = "batches"
    NETWORK = "network"
    MEMORY = "memory"
    FLOW_CONTROL = "flow_control"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that limits a service. `share`: of the time, or of the records. `gain`: records per second more, at the
    most; None if it can't be told.
    """

    limit: Limit
    sentence: str
    share: float
    evidence: tuple[Evidence, ...]
    against: tuple[Evidence, ...]
    """What would speak for another limit, and does not."""
    change: str
    gain: float | None = None
    unseen: str = ""
    """What could not be seen from here."""


def gain_of_one_writer_more(meters: Meters) -> float:
    """Records per second more if another writer is as fast as those that there are."""
    return min(gain_up_to(meters, meters.cpu), meters.pace * max(1, meters.sharing) / max(1.0, meters.writers))


def gain_up_to(meters: Meters, next_share: float) -> float:
    """Records per second more, of the kind that is judged, until the next stage is busy all the time."""
    return meters.pace * (1 / max(0.05, next_share) - 1)
