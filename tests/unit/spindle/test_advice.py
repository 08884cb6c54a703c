"""`spindle advise`: each situation gives its one finding, and a healthy run gives none."""

import json
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from common.kinds import Names, Service
from common.ops.scraping import Samples
from spindle.advice.command import as_data, show
from spindle.advice.findings import ENOUGH, Advice, Limit, advise
from spindle.advice.meters import Look, meters_of
from spindle.status.broker import BrokerState, QueueState
from spindle.status.replicas import Replica
from spindle.status.snapshot import ServiceState, paint

NAMES = Names()
TABLE, GRAPH = Service.TABLEINATOR, Service.GRAPHINATOR
SECONDS = 100.0
BACKLOG = 50_000
BUSY: Mapping[str, Any] = {
    "new": 100_000,  # of one kind, in 100 s
    "batches": 200,
    "size": 100_000,
    "room": 100_000,
    "stored": 190.0,  # seconds in transactions, of two writers
    "cpu": 40.0,
}
"""What moves in a run that a store limits."""


def counters(service: Service, kinds: tuple[str, ...], **moved: float) -> Samples:
    """A process's answer; what is not said is 0."""
    of = dict.fromkeys(("new", "unchanged", "dead", "batches", "by_bytes", "size", "room", "stored", "failed"), 0.0)
    of |= {"lag": 0.01, "breaker": 0.0, "began": 5.0, "cpu": 0.0, "paused": 0.0, "in_use": 0.0} | moved
    outcomes = {"new": of["new"], "unchanged": of["unchanged"], "dead_lettered": of["dead"]}
    lines = [
        f"process_cpu_seconds_total {of['cpu'] + 3}",
        f"process_start_time_seconds {of['began']}",
        f'spindle_event_loop_lag_seconds{{service="{service}"}} {of["lag"]}',
        f'spindle_pool_in_use_connections{{service="{service}"}} {of["in_use"]}',
        f'spindle_store_breaker_open{{service="{service}",store="A store"}} {of["breaker"]}',
    ]
    for kind in kinds:
        by = f'service="{service}",kind="{kind}"'
        lines += [
            f"spindle_broker_connected{{{by}}} 1",
            f"spindle_writers{{{by}}} 2",
            f"spindle_paused{{{by}}} {of['paused']}",
            f"spindle_batch_size_limit_records{{{by}}} 500",
            *(f'spindle_records_total{{{by},outcome="{outcome}"}} {count + 7}' for outcome, count in outcomes.items()),
            f'spindle_batch_size_records_count{{{by},trigger="size"}} {of["batches"] - of["by_bytes"]}',
            f'spindle_batch_size_records_count{{{by},trigger="bytes"}} {of["by_bytes"]}',
            f'spindle_batch_size_records_sum{{{by},trigger="size"}} {of["size"]}',
            f"spindle_batch_room_records_total{{{by}}} {of['room']}",
            f'spindle_transaction_time_seconds_total{{{by},result="stored"}} {of["stored"]}',
            f'spindle_transaction_time_seconds_total{{{by},result="conflict"}} {of["failed"]}',
        ]
    return Samples.parse("\n".join(lines) + "\n")


def look(
    at: float,
    service: Service,
    kinds: tuple[str, ...],
    *,
    waiting: int,
    alarms: tuple[str, ...] = (),
    address: str = "a:1",
    **moved: float,
) -> Look:
    broker = BrokerState(
        "here",
        ("amqp",),
        queues={NAMES.queue(service, kind): QueueState(waiting, 0) for kind in kinds},
        alarms=alarms,
    )
    replicas = [Replica(service, address, counters(service, kinds, **moved))]
    picture = paint(replicas, broker, services=[service], kinds=kinds, names=NAMES, latencies={})
    return Look(at, picture)


def advice(
    *, service: Service = TABLE, kinds: tuple[str, ...] = ("releases",), waiting: int = BACKLOG, **moved: Any
) -> Advice:
    """What is said of a window in which these counters moved; what is no counter is so at its end."""
    looks = [
        look(0.0, service, kinds, waiting=waiting),
        look(SECONDS, service, kinds, waiting=waiting, **moved),
    ]
    return advise(service, meters_of(looks, service))


def limits(found: Advice) -> list[Limit]:
    return [finding.limit for finding in found.findings]


@pytest.mark.parametrize(
    ("moved", "limit"),
    [
        ({}, Limit.STORE),
        ({"stored": 60.0, "cpu": 97.0}, Limit.CPU),
        ({"stored": 190.0, "cpu": 95.0}, Limit.BALANCED),
        ({"stored": 60.0, "lag": 2.0}, Limit.LOOP_LAG),
        ({"stored": 60.0, "by_bytes": 190}, Limit.BYTES),
        ({"stored": 60.0, "batches": 2000, "room": 1_000_000}, Limit.PREFETCH),
        ({"stored": 60.0}, Limit.UNKNOWN),
    ],
    ids=lambda value: str(value) if isinstance(value, Limit) else "",
)
def test_behind_a_backlog_one_stage_is_the_limit(moved: dict[str, float], limit: Limit) -> None:
    found = advice(**{**BUSY, **moved})

    assert limits(found) == [limit]
    [finding] = found.findings
    assert finding.change
    assert finding.evidence
    assert finding.share >= 0
    assert finding.sentence in found.verdict


@pytest.mark.parametrize(
    ("moved", "limit"),
    [
        ({"breaker": 1.0}, Limit.STORE_AWAY),
        ({"paused": 1.0}, Limit.STOPPED),
        ({"alarms": ("memory",)}, Limit.BROKER_ALARM),
        ({"failed": 40.0, "stored": 150.0}, Limit.RETRIES),
        ({"dead": 3_000}, Limit.DEAD_LETTERS),
        ({"new": 20_000, "unchanged": 80_000}, Limit.DUPLICATES),
    ],
    ids=lambda value: str(value) if isinstance(value, Limit) else "",
)
def test_what_is_the_matter_is_said_before_what_limits(moved: dict[str, Any], limit: Limit) -> None:
    assert limits(advice(**{**BUSY, **moved})) == [limit, Limit.STORE]


@pytest.mark.parametrize("service", Service)
def test_a_service_that_keeps_up_has_no_finding(service: Service) -> None:
    found = advice(service=service, **{**BUSY, "stored": 30.0}, waiting=300)

    assert (found.judged, found.findings) == (True, ())
    assert found.verdict == "keeps up with what is published: 1,000 records/s, and nothing waits"


def test_with_nothing_to_do_there_is_nothing_to_find() -> None:
    found = advice(waiting=0)

    assert (found.judged, found.findings) == (True, ())
    assert found.verdict.startswith("nothing to do")


def test_too_few_records_are_no_ground_for_a_judgement() -> None:
    found = advice(**{**BUSY, "new": ENOUGH - 1})

    assert (found.judged, found.findings) == (False, ())
    assert "--seconds" in found.verdict


@pytest.mark.parametrize(("in_use", "words"), [(2, "2 of its transactions are under way"), (0, "no transaction is")])
def test_records_that_wait_while_none_is_settled_are_a_standstill(in_use: int, words: str) -> None:
    found = advice(in_use=in_use)

    assert (found.judged, limits(found)) == (True, [Limit.STANDSTILL])
    assert words in found.verdict


def test_that_records_wait_is_not_said_if_nobody_could_see_it() -> None:
    moments = [look(at, TABLE, ("releases",), waiting=0) for at in (0.0, SECONDS)]
    blind = [
        replace(each, picture=replace(each.picture, services=tuple(_blind(state) for state in each.picture.services)))
        for each in moments
    ]

    assert advise(TABLE, meters_of(blind, TABLE)).judged is False


def _blind(state: ServiceState) -> ServiceState:
    return replace(state, kinds=tuple(replace(kind, ready=None) for kind in state.kinds))


def test_too_few_records_because_the_store_is_away_are_the_stores() -> None:
    assert limits(advice(new=10, breaker=1.0)) == [Limit.STORE_AWAY]


def test_a_process_that_began_meanwhile_is_not_compared_with_the_one_before_it() -> None:
    looks = [
        look(0.0, TABLE, ("releases",), waiting=BACKLOG),
        look(SECONDS, TABLE, ("releases",), waiting=BACKLOG, **{**BUSY, "began": 60.0}),
    ]

    assert meters_of(looks, TABLE) is None
    assert advise(TABLE, None).judged is False


def test_kinds_that_take_turns_share_the_time_and_others_the_writers() -> None:
    """Each kind's two writers spend 95 s each, of 100 s in all: two kinds in turn are busy all the time."""
    moved = {**BUSY, "stored": 95.0, "new": 50_000}

    assert limits(advice(service=GRAPH, kinds=("masters", "releases"), **moved)) == [Limit.STORE]
    assert limits(advice(service=TABLE, kinds=("masters", "releases"), **moved)) == [Limit.UNKNOWN]


def test_a_gain_is_what_the_next_stage_leaves_room_for() -> None:
    [finding] = advice(**BUSY).findings

    assert finding.gain == pytest.approx(1000 * (1 / 0.4 - 1))


def test_it_is_told_to_people_and_to_programs() -> None:
    found = [advice(**BUSY), advice(service=GRAPH, waiting=0)]
    screen = StringIO()

    show(found, Console(file=screen, width=200), seconds=SECONDS)
    told = json.loads(json.dumps(as_data(found, seconds=SECONDS)))

    assert screen.getvalue().count("A store is the limit: the writers spend 95% of their time") == 1
    assert "not the limit: CPU seconds per second of the busiest replica 0.40 (bound 0.7)" in screen.getvalue()
    assert told["services"]["tableinator"]["findings"][0]["limit"] == "store"
    assert told["services"]["graphinator"]["findings"] == []


def test_replicas_that_came_or_went_are_said_to_be_left_out() -> None:
    kinds = ("releases",)
    begun, ended = look(0.0, TABLE, kinds, waiting=BACKLOG), look(SECONDS, TABLE, kinds, waiting=BACKLOG, **BUSY)
    [state] = ended.picture.services
    new = Replica(TABLE, "b:1", counters(TABLE, kinds, **BUSY))
    picture = replace(ended.picture, services=[replace(state, replicas=[*state.replicas, new])])

    found = advise(TABLE, meters_of([begun, Look(SECONDS, picture)], TABLE))

    assert limits(found) == [Limit.STORE]
    assert found.verdict.endswith("replicas that began or ended meanwhile are not in it")
