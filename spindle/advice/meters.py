"""What a service's meters say between two moments, over all replicas that lived through both. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from common.kinds import Service
from common.ops.scraping import Samples
from common.ops.waits import Wait, Waiting
from common.outcomes import Outcome
from common.sink import Result
from spindle.status.quantiles import Latency, latency_of
from spindle.status.snapshot import TAKE_TURNS, KindState, Picture, ServiceState

LATENCY = "spindle_publish_to_commit_seconds"

NAMES = frozenset(
    {
        *("process_cpu_seconds_total", "process_start_time_seconds", "process_resident_memory_bytes"),
        *("spindle_event_loop_lag_seconds", "spindle_pool_in_use_connections", "spindle_broker_connected"),
        *("spindle_store_breaker_open", "spindle_store_alarm", "spindle_publishing_blocked"),
        *("spindle_paused", "spindle_refusing_everything", "spindle_handed_back", "spindle_suspects"),
        *("spindle_records_total", "spindle_records_per_second", "spindle_unacknowledged_deliveries"),
        *("spindle_batch_size_records_count", "spindle_batch_size_records_sum", "spindle_batch_room_records_total"),
        *("spindle_batch_size_limit_records", "spindle_writers", "spindle_transactions_total"),
        *("spindle_transaction_time_seconds_total", f"{LATENCY}_bucket", f"{LATENCY}_count"),
    }
)
"""All that is looked at: what keeps looks for long keeps no more, and Prometheus is asked for no more."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """What the broker says of itself at one moment; None if it does not tell."""

    memory: float | None = None
    """What the fullest node uses of the memory at which it blocks publishers: a share."""
    flow: bool | None = None
    """Whether it slows a publisher down."""
    blocked: bool | None = None
    """Whether it takes no messages: an alarm for memory or disk."""
    trouble: str = ""
    """Why its management API could not be asked, a sentence; empty if it could."""


@dataclass(frozen=True, slots=True)
class Look:
    """Everything at one moment; `at` in seconds of any one clock."""

    at: float
    picture: Picture
    waits: Mapping[Service, Mapping[Waiting, int]] = field(default_factory=dict)
    """What transactions were seen to do, counted over all samples so far."""
    pressure: Pressure = Pressure()


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """One service in a window of time. A share is from 0 to 1, of the window if nothing else is said."""

    service: Service
    store: str
    seconds: float
    restarted: bool
    """Whether some others were there at either look: what they did is not in the numbers."""
    kind: str | None
    """The kind that is judged, the one before which most messages waited: what is said of batches, and of writers that
    are a kind's own, is said of it, for the others' are idle. None if none waited of several."""
    several: bool
    """Whether other kinds moved or waited, too."""
    paced: Mapping[Outcome, int]
    """Records settled by the writers that `writing` is about: of the kind, else of all."""
    sharing: int
    """Replicas that work on the kind: of these are CPU and lag."""
    outcomes: Mapping[Outcome, int]
    """Records settled, of all kinds."""
    backlog: Sequence[int]
    """Messages that waited, at each look; empty if nobody could tell."""
    due: Sequence[int]
    """The same without kinds that are stopped: what waited for the service."""
    unsettled: float
    """Deliveries of the kind, else of any, that the broker awaited an answer for: the most, over replicas and looks."""
    sent: float | None
    """The same as RabbitMQ counts them, what is still under way included; None if it does not tell."""
    batch: float
    """Records of a full batch."""
    size: float | None
    """Records of a batch, on the average; None if there was none."""
    transaction: float | None
    """Seconds that a transaction took which stored something, on the average; None if there was none."""
    writers: float
    """Transactions at a time that the kind, else any, may have, over all replicas."""
    writing: float
    """Share of the writers' time that was spent in transactions."""
    failing: float
    """Share of all writers' time in transactions that stored nothing."""
    storing: float
    """Share of all writers' time in transactions that stored something."""
    failed: int
    """Transactions that stored nothing."""
    cpu: float
    """CPU seconds per second of the replica that used most: 1 is one core, and a process uses no more."""
    lags: Sequence[float]
    """Seconds, at each look: the longest delay of an event loop in the ten before."""
    fill: float | None
    """How full batches were; None if there was none."""
    by_bytes: float
    """Share of the batches that their bytes have closed."""
    in_use: float
    """Connections to the store in use at the last look: transactions under way."""
    away: float
    """Share of the looks at which the store was held to be unavailable."""
    blocked: float | None
    """Share of the looks at which the broker took no messages; None if it does not tell."""
    flow: float | None
    """Share of the looks at which the broker slowed a publisher down; None if it does not tell."""
    broker_memory: float | None
    """The most that a node of the broker used of its memory ceiling; None if it does not tell."""
    memory: float
    """Bytes that the largest replica held at the last look."""
    latency: Latency | None
    """From publish to commit."""
    waits: Mapping[Waiting, int]
    """What transactions were seen to do in the store, by how often."""
    stopped: Mapping[str, str]
    """By kind, why it is stopped, at the last look."""
    moving: frozenset[str]
    """The kinds of which records were settled."""

    @property
    def records(self) -> int:
        """Records settled in the window."""
        return sum(self.outcomes.values())

    @property
    def rate(self) -> float:
        """Records settled per second."""
        return self.records / self.seconds

    @property
    def pace(self) -> float:
        """Those of `paced` per second."""
        return sum(self.paced.values()) / self.seconds

    @property
    def of_kind(self) -> str:
        """Whose the writers are that `writing` is about, for a sentence: empty if everybody's."""
        return f" of {self.kind}" if self.kind and self.several and self.service not in TAKE_TURNS else ""

    @property
    def lag(self) -> float:
        """Seconds: the longest delay of an event loop."""
        return max(self.lags)

    @property
    def seen(self) -> int:
        """How often a transaction was seen in the store."""
        return sum(self.waits.values())

    def share_of(self, *outcomes: Outcome) -> float:
        """Share of the records with one of these outcomes."""
        return sum(self.outcomes[each] for each in outcomes) / self.records if self.records else 0.0

    def paced_share_of(self, *outcomes: Outcome) -> float:
        """The same of those that `writing` is about."""
        return sum(self.paced[each] for each in outcomes) / max(1, sum(self.paced.values()))

    def share_in(self, wait: Wait) -> float:
        """Share of the transactions that were seen to do this."""
        return sum(count for each, count in self.waits.items() if each.wait is wait) / max(1, self.seen)

    def events_of(self, wait: Wait) -> list[str]:
        """The store's names for it, the most frequent first."""
        counts: dict[str, int] = {}
        for each, count in self.waits.items():
            if each.wait is wait:
                counts[each.event] = counts.get(each.event, 0) + count
        return sorted(counts, key=lambda event: -counts[event])


def meters_of(looks: Sequence[Look], service: Service, *, kind: str | None = None) -> Meters | None:
    """A service's meters from the first look to the last. `kind`: judge this one.

    Returns: None if no replica answered at both.
    """
    first, last = (_state(look.picture, service) for look in (looks[0], looks[-1]))
    before, after = _samples(first), _samples(last)
    lasting = [address for address in after if address in before and _is_same(before[address], after[address])]
    if not lasting:
        return None
    window = _Window([before[address] for address in lasting], [after[address] for address in lasting], service)
    seconds = looks[-1].at - looks[0].at
    states = [_state(look.picture, service) for look in looks]
    active = [kind for kind in last.kinds if window.moved("spindle_records_total", kind=kind.kind) or kind.backlog]
    writers = {
        kind.kind: sum(after[each].sum("spindle_writers", kind=kind.kind) for each in lasting) for kind in active
    }
    moving = frozenset(each.kind for each in last.kinds if window.moved("spindle_records_total", kind=each.kind))
    stopped = {each.kind: each.flags[0] for each in last.kinds if each.flags}
    idle = stopped.keys() - moving
    able = {each for each, count in writers.items() if count} - idle
    kind = kind if kind in able else _most_waiting(states, able)
    of = {} if kind is None else {"kind": kind}
    busy = list(writers) if kind is None or service in TAKE_TURNS else [kind]
    own = [each for each in lasting if kind is None or after[each].sum("spindle_writers", kind=kind)]
    mine = _Window([before[address] for address in own], [after[address] for address in own], service)
    batches = window.moved("spindle_batch_size_records_count", **of)
    held = window.moved("spindle_batch_size_records_sum", **of)
    room = window.moved("spindle_batch_room_records_total", **of)
    trying, stored = (window.share_of_writers(writers, **only) / seconds for only in ({}, {"result": Result.STORED}))
    transactions, successful = (
        window.moved("spindle_transactions_total", **result) for result in ({}, {"result": Result.STORED})
    )
    return Meters(
        service=service,
        store=last.store,
        seconds=seconds,
        restarted=len(lasting) < max(len(before), len(after)),
        kind=kind,
        several=len(writers) > 1,
        paced={
            outcome: round(sum(window.moved("spindle_records_total", outcome=outcome, kind=each) for each in busy))
            for outcome in Outcome
        },
        sharing=len(own),
        outcomes={outcome: round(window.moved("spindle_records_total", outcome=outcome)) for outcome in Outcome},
        backlog=_backlog(states, set()),
        due=_backlog(states, idle),
        unsettled=max((each.in_flight for state in states for each in _of(state, kind)), default=0),
        sent=_sent(states, kind),
        batch=max(after[address].largest("spindle_batch_size_limit_records", **of) for address in lasting),
        size=held / batches if batches else None,
        transaction=_seconds_of_one(window, of),
        writers=max(writers.values(), default=0.0) if kind is None else writers[kind],
        # A transaction counts when it ends: in a short window that may be more time than there was.
        writing=min(1.0, mine.share_of_writers(busy) / seconds),
        failing=trying - stored,
        storing=stored,
        failed=round(transactions - successful),
        cpu=max(mine.each("process_cpu_seconds_total")) / seconds,
        lags=[_lag(state, own) for state in states],
        fill=held / room if room else None,
        by_bytes=window.moved("spindle_batch_size_records_count", trigger="bytes", **of) / batches if batches else 0.0,
        in_use=sum(after[address].sum("spindle_pool_in_use_connections") for address in lasting),
        away=sum(state.breaker_open for state in states) / len(states),
        blocked=_share([bool(look.picture.broker.alarms) or look.pressure.blocked for look in looks]),
        flow=_share([look.pressure.flow for look in looks]),
        broker_memory=max((look.pressure.memory for look in looks if look.pressure.memory is not None), default=None),
        memory=max(after[address].largest("process_resident_memory_bytes") for address in lasting),
        latency=window.latency(),
        waits=_waits(looks[0].waits.get(service, {}), looks[-1].waits.get(service, {})),
        stopped=stopped,
        moving=moving,
    )


def why_none(looks: Sequence[Look], service: Service) -> str:
    """Why a service has no meters, as `meters_of` says: a sentence."""
    first, last = (_state(look.picture, service) for look in (looks[0], looks[-1]))
    if _samples(first) and _samples(last):
        return "every replica that answers began meanwhile, or began again: look again"
    if _samples(last):
        return "no replica answered at first: look again"
    troubles = [f"{each.address}: {'; '.join(each.trouble)}" for each in last.replicas if each.trouble]
    return f"no replica answers ({'; '.join(troubles)})" if troubles else "no replica answers"


class _Window:
    """The same processes at two moments."""

    def __init__(self, before: Sequence[Samples], after: Sequence[Samples], service: Service) -> None:
        self._pairs = list(zip(before, after, strict=True))
        self._service = str(service)

    def moved(self, name: str, **labels: str) -> float:
        """By how much a counter of the service moved, over all processes."""
        labels = {"service": self._service, **labels}
        return sum(after.sum(name, **labels) - before.sum(name, **labels) for before, after in self._pairs)

    def share_of_writers(self, kinds: Collection[str], **result: str) -> float:
        """Seconds that a writer of these kinds spent in transactions, on the average.

        Where kinds take turns within a process, that is the sum over kinds in each, else the mean of all of them.
        """
        name, service = "spindle_transaction_time_seconds_total", self._service
        spent, writers = list[list[float]](), list[list[float]]()
        for before, after in self._pairs:
            of = [{"service": service, "kind": kind} for kind in kinds]
            spent.append([after.sum(name, **each, **result) - before.sum(name, **each, **result) for each in of])
            writers.append([after.sum("spindle_writers", **each) for each in of])
        if self._service in TAKE_TURNS:
            shares = [sum(map(_per_writer, *both)) for both in zip(spent, writers, strict=True) if any(both[1])]
            return sum(shares) / max(1, len(shares))
        return _per_writer(sum(map(sum, spent)), sum(map(sum, writers)))

    def each(self, name: str) -> list[float]:
        """By how much a counter without labels moved in each process."""
        return [after.sum(name) - before.sum(name) for before, after in self._pairs]

    def latency(self) -> Latency | None:
        """What the histogram of the way from publish to commit has taken in, over all processes and kinds."""
        grown: dict[float, float] = {}
        for samples, sign in ((each, sign) for pair in self._pairs for each, sign in zip(pair, (-1, 1), strict=True)):
            for bound, count in samples.buckets(LATENCY, service=self._service).items():
                grown[bound] = grown.get(bound, 0.0) + sign * count
        return latency_of(grown)


def _per_writer(seconds: float, writers: float) -> float:
    return seconds / max(1.0, writers)


def slim(picture: Picture) -> Picture:
    """The same picture with no sample that no meter reads; what equal samples have in common is kept once."""
    for state in picture.services:
        for replica in state.replicas:
            if replica.samples is not None:
                replica.samples.keep(NAMES)
    return picture


def _state(picture: Picture, service: Service) -> ServiceState:
    return next(state for state in picture.services if state.service == service)


def _samples(state: ServiceState) -> dict[str, Samples]:
    return {replica.address: replica.samples for replica in state.replicas if replica.samples is not None}


def _lag(state: ServiceState, addresses: Collection[str]) -> float:
    samples = [each for address, each in _samples(state).items() if address in addresses]
    return max((each.largest("spindle_event_loop_lag_seconds") for each in samples), default=0.0)


def _is_same(before: Samples, after: Samples) -> bool:
    return before.sum("process_start_time_seconds") == after.sum("process_start_time_seconds")


def _share(facts: Sequence[bool | None]) -> float | None:
    known = [fact for fact in facts if fact is not None]
    return sum(known) / len(known) if known else None


def _most_waiting(states: Sequence[ServiceState], kinds: Collection[str]) -> str | None:
    """Of these the kind before which most messages waited over all looks, or which had most in hand if the broker does
    not tell; None if none waited.
    """
    if len(kinds) < 2:
        return next(iter(kinds), None)
    of = [each for state in states for each in state.kinds if each.kind in kinds]
    is_told = any(each.ready is not None for each in of)
    waited = dict.fromkeys(sorted(kinds), 0)
    for each in of:
        waited[each.kind] += (each.ready or 0) if is_told else each.in_flight
    most = max(waited, key=waited.__getitem__)
    return most if waited[most] else None


def _of(state: ServiceState, kind: str | None) -> list[KindState]:
    return [each for each in state.kinds if kind in (None, each.kind)]


def _sent(states: Sequence[ServiceState], kind: str | None) -> float | None:
    told = [each.sent for state in states for each in _of(state, kind) if each.sent is not None]
    return max(told, default=None)


def _seconds_of_one(window: _Window, of: Mapping[str, str]) -> float | None:
    of = {**of, "result": Result.STORED}
    transactions = window.moved("spindle_transactions_total", **of)
    return window.moved("spindle_transaction_time_seconds_total", **of) / transactions if transactions else None


def _waits(before: Mapping[Waiting, int], after: Mapping[Waiting, int]) -> dict[Waiting, int]:
    grown = {each: count - before.get(each, 0) for each, count in after.items()}
    return {each: count for each, count in grown.items() if count > 0}


def _backlog(states: Sequence[ServiceState], idle: Collection[str]) -> list[int]:
    asked = [[kind.ready for kind in state.kinds if kind.kind not in idle] for state in states]
    waiting = [[count for count in each if count is not None] for each in asked]
    is_whole = all(len(each) == len(all_) for each, all_ in zip(waiting, asked, strict=True))
    return [sum(each) for each in waiting] if is_whole else []
