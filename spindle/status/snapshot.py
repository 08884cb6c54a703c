"""Put together what replicas and broker say: per service and kind, in numbers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.kinds import Names, Service
from common.ops.scraping import Samples
from common.outcomes import Outcome
from common.sink import BreakerState
from spindle.status.broker import BrokerState, QueueState
from spindle.status.quantiles import Buckets, Latency, latency_of
from spindle.status.replicas import Replica


@dataclass(frozen=True, slots=True)
class LoadState:
    """A load of one kind, as a store's ledger has it over all processes; times are seconds since 1970, 0 for never."""

    load: str
    announced: float
    checked: float
    is_complete: bool
    missing: int
    published: int
    outcomes: Mapping[str, int]

    @property
    def state(self) -> str:
        """How far it is."""
        if self.is_complete:
            return "complete"
        if self.checked:
            return "incomplete"
        return "announced" if self.announced else "running"


TAKE_TURNS = frozenset({Service.GRAPHINATOR})
"""The services of which one kind writes at a time; in the others each kind has writers of its own."""


@dataclass(frozen=True, slots=True)
class KindState:
    """One kind in one service, over all replicas."""

    kind: str
    replicas: int
    """How many of those that answer work on it."""
    rate: float
    """Records settled per second over the last ten seconds."""
    ready: int | None
    """Messages that wait; None if the queue does not exist or the broker can't be asked."""
    unacknowledged: int
    """Deliveries that the broker awaits an answer for: as the replicas have them; where one of those does not answer,
    as the broker has them, if it tells."""
    in_flight: int
    """Deliveries that the replicas hold."""
    oldest: float
    """Seconds since the oldest of those arrived."""
    latency: Latency | None
    outcomes: Mapping[str, int]
    """Records settled since the replicas began."""
    dead_letters: int | None
    """Length of the dead-letter queue; None if there is none, or it is not known."""
    flags: tuple[str, ...]
    """What holds it up, a word or two each."""
    paused: str = ""
    """Who has paused it, when and why; empty if nobody has."""
    load: LoadState | None = None
    """The newest load that the store's ledger knows."""
    sent: int | None = None
    """Deliveries that the broker says it has sent and has no answer for, seconds old; None if it does not tell."""

    @property
    def backlog(self) -> int | None:
        """What is still to be settled."""
        return None if self.ready is None else self.ready + self.unacknowledged

    @property
    def eta(self) -> float | None:
        """Seconds until the backlog is settled at this rate; None if that is not known, or never."""
        if self.backlog == 0:
            return 0.0
        return self.backlog / self.rate if self.backlog and self.rate > 0 else None


@dataclass(frozen=True, slots=True)
class Breaker:
    """What one replica's breaker does about its store."""

    state: BreakerState
    failures: int
    """Attempts that found the store away since it took the last write."""
    next_trial: float
    """Seconds until the store is tried again; 0 while it is being tried, or there."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service."""

    service: Service
    replicas: Sequence[Replica]
    kinds: Sequence[KindState]
    store: str
    """The store's name; empty until a replica that answers is connected to it."""
    breaker_open: bool
    """Whether any replica holds its store to be unavailable."""
    alarm: bool
    """Whether the store needs a person."""
    publishing_blocked: bool
    """Whether dead letters wait for a broker that takes none."""
    breakers: Mapping[str, Breaker]
    """By address, of those replicas that tell."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything at one moment."""

    broker: BrokerState
    services: Sequence[ServiceState]
    window: float | None = None
    """Seconds that latencies look back over; None: to the services' begin."""


_FLAGS = {
    "spindle_refusing_everything": "refusing everything",
    "spindle_handed_back": "handed back",
    "spindle_suspects": "suspects",
    "spindle_paused": "paused",
}


def histograms(replicas: Sequence[Replica]) -> dict[str, Buckets]:
    """The latency of each replica and kind, by a name for the two: each begins again with its process."""
    return {
        f"{replica.address} {replica.service} {kind}": replica.samples.buckets(
            "spindle_publish_to_commit_seconds", service=replica.service, kind=kind
        )
        for replica in replicas
        if replica.samples is not None
        for kind in {sample.labels["kind"] for sample in replica.samples.of("spindle_publish_to_commit_seconds_count")}
    }


def paint(
    replicas: Sequence[Replica],
    broker: BrokerState,
    *,
    services: Sequence[Service],
    kinds: Sequence[str],
    names: Names,
    latencies: Mapping[str, Buckets],
    window: float | None = None,
) -> Picture:
    """Make the picture; `latencies` as `histograms` names them, of this window."""
    painted = []
    for service in services:
        own = [replica for replica in replicas if replica.service == service]
        states = [_kind(service, kind, own, broker, names, latencies) for kind in kinds]
        painted.append(_service(service, own, states))
    return Picture(broker, painted, window)


def _service(service: Service, replicas: Sequence[Replica], kinds: Sequence[KindState]) -> ServiceState:
    said = [replica.samples for replica in replicas if replica.samples is not None]
    stores = {sample.labels["store"] for each in said for sample in each.of("spindle_store_breaker_open")}
    return ServiceState(
        service,
        replicas,
        kinds,
        store=", ".join(sorted(stores)),
        breaker_open=any(each.sum("spindle_store_breaker_open") for each in said),
        alarm=any(each.sum("spindle_store_alarm") for each in said),
        publishing_blocked=any(each.sum("spindle_publishing_blocked") for each in said),
        breakers={
            replica.address: breaker
            for replica in replicas
            if replica.samples is not None and (breaker := _breaker(replica.samples)) is not None
        },
    )


def _breaker(said: Samples) -> Breaker | None:
    """What a replica tells of its breaker; None if it is of a version that does not."""
    name = "spindle_store_breaker_state"
    state = next((each for each in BreakerState if said.sum(name, state=each)), None)
    if state is None:
        return None
    return Breaker(
        state,
        failures=round(said.sum("spindle_store_breaker_failures")),
        next_trial=said.largest("spindle_store_breaker_next_trial_seconds"),
    )


def _kind(
    service: Service,
    kind: str,
    replicas: Sequence[Replica],
    broker: BrokerState,
    names: Names,
    latencies: Mapping[str, Buckets],
) -> KindState:
    said = [replica.samples for replica in replicas if replica.samples is not None]
    all_answer = len(said) == len(replicas) > 0
    labels = {"service": str(service), "kind": kind}
    in_flight = round(sum(each.sum("spindle_unacknowledged_deliveries", **labels) for each in said))
    queue = broker.queues.get(names.queue(service, kind), QueueState(None))
    letters = broker.queues.get(names.dead_letter_queue(service, kind))
    return KindState(
        kind,
        replicas=sum(any(each.of("spindle_broker_connected", **labels)) for each in said),
        rate=sum(each.sum("spindle_records_per_second", **labels) for each in said),
        ready=queue.ready,
        unacknowledged=in_flight if all_answer or queue.unacknowledged is None else queue.unacknowledged,
        in_flight=in_flight,
        oldest=max((each.largest("spindle_oldest_unacknowledged_seconds", **labels) for each in said), default=0.0),
        latency=latency_of(_together(latencies, [f"{each.address} {service} {kind}" for each in replicas])),
        outcomes={
            outcome.value: round(sum(each.sum("spindle_records_total", outcome=outcome, **labels) for each in said))
            for outcome in Outcome
        },
        dead_letters=letters.ready if letters else None,
        flags=tuple(word for name, word in _FLAGS.items() if any(each.sum(name, **labels) for each in said)),
        paused=next((replica.paused[kind] for replica in replicas if kind in replica.paused), ""),
        load=_load(said, labels),
        sent=queue.unacknowledged,
    )


def _load(said: Sequence[Samples], labels: Mapping[str, str]) -> LoadState | None:
    """The newest load of which any replica knows; all read the same ledger, some a moment earlier."""

    def most(name: str, **more: str) -> float:
        return max((each.largest(name, **labels, **more) for each in said), default=0.0)

    load = round(most("spindle_load"))
    if not load:
        return None
    return LoadState(
        str(load),
        announced=most("spindle_load_announced_timestamp_seconds"),
        checked=most("spindle_load_checked_timestamp_seconds"),
        is_complete=bool(most("spindle_load_complete")),
        missing=round(most("spindle_load_missing_records")),
        published=round(most("spindle_load_published_records")),
        outcomes={outcome.value: round(most("spindle_load_records", outcome=outcome)) for outcome in Outcome},
    )


def _together(latencies: Mapping[str, Buckets], names: Sequence[str]) -> Buckets:
    together: dict[float, float] = {}
    for name in names:
        for bound, count in latencies.get(name, {}).items():
            together[bound] = together.get(bound, 0.0) + count
    return together
