"""`spindle advise`: each situation gives its one finding, and a healthy run gives none."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import escape
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

import pytest
from rich.console import Console

from common.errors import SettingsError, StartRefused
from common.kinds import Names, Service
from common.ops.scraping import Samples
from common.ops.waits import Wait, Waiting
from common.settings.environment import load
from extractor.report import Ending, KindReport, to_json
from extractor.report import Report as ExtractorReport
from extractor.tally import Awaited
from graphinator.ops import activity as graph_activity
from spindle.advice import command, evidence, watching
from spindle.advice.command import show
from spindle.advice.evidence import BUSY as LIMIT_BUSY
from spindle.advice.evidence import ENOUGH, HALF_BUSY, SEEN, Evidence
from spindle.advice.findings import Advice, advise
from spindle.advice.keeping import keep
from spindle.advice.limits import Limit, gain_up_to
from spindle.advice.meters import Look, Meters, Pressure, meters_of, slim
from spindle.advice.page import page_of
from spindle.advice.phases import judge
from spindle.advice.prometheus import Prometheus, is_match
from spindle.advice.publishing import PublishingLimit, advise_publishing, read_published
from spindle.advice.report import Report, compared, judged, read_report, report_of
from spindle.advice.watching import MOST, Activity, Looks, Observer, openings_of, pause_before
from spindle.advice.window import POINTS, Window, series_of
from spindle.cli import main
from spindle.settings import OperatorSettings
from spindle.status.broker import BrokerState, QueueState
from spindle.status.replicas import Replica
from spindle.status.snapshot import ServiceState, paint
from tableinator.ops import activity as table_activity

NAMES = Names()
TABLE, GRAPH = Service.TABLEINATOR, Service.GRAPHINATOR
SECONDS = 100.0
BACKLOG = 50_000
UNTOLD = Pressure()
BUSY: Mapping[str, Any] = {
    "new": 100_000,  # of one kind, in 100 s
    "batches": 200,
    "size": 100_000,
    "room": 100_000,
    "stored": 190.0,  # seconds in transactions, of two writers
    "cpu": 40.0,
    "unsettled": 2000,  # at the end
}
"""What moves in a run that a store limits."""

IDLE: Mapping[str, Any] = {**BUSY, "stored": 60.0}
"""What moves in a run that neither store nor CPU limits."""

CROWDED: dict[str, Any] = {"stored": 60.0, "cpu": 97.0, "batches": 4000, "room": 2_000_000}
"""What a process differs in that computes all the time, and so puts little into its batches."""


def seen(wait: Wait, event: str = "", *, checkpoint: bool = False, beside: Wait | None = None) -> dict[Waiting, int]:
    """What transactions were seen to do: mostly this."""
    return {Waiting(wait, event or str(wait), checkpoint): 80} | ({Waiting(beside, str(beside)): 20} if beside else {})


def counters(service: Service, kinds: tuple[str, ...], **moved: float) -> Samples:
    """A process's answer; what is not said is 0."""
    return Samples.parse(exposed(service, kinds, **moved))


def exposed(service: Service, kinds: tuple[str, ...], **moved: float) -> str:
    """The same as text."""
    of = dict.fromkeys(("new", "unchanged", "dead", "batches", "by_bytes", "size", "room", "stored", "failed"), 0.0)
    of |= {"lag": 0.01, "breaker": 0.0, "began": 5.0, "cpu": 0.0, "paused": 0.0, "in_use": 0.0, "refusing": 0.0} | moved
    of = {"limit": 500.0, "unsettled": 0.0, "fast": 0.0, "tries": 0.0, "suspects": 0.0} | of
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
            f"spindle_writers{{{by}}} {of.get('writers', 2)}",
            f"spindle_paused{{{by}}} {of['paused']}",
            f"spindle_refusing_everything{{{by}}} {of['refusing']}",
            f"spindle_suspects{{{by}}} {of['suspects']}",
            f"spindle_unacknowledged_deliveries{{{by}}} {of['unsettled']}",
            f"spindle_batch_size_limit_records{{{by}}} {of['limit']}",
            f'spindle_publish_to_commit_seconds_bucket{{{by},le="1"}} {of["fast"]}',
            f'spindle_publish_to_commit_seconds_bucket{{{by},le="+Inf"}} {of["new"]}',
            f'spindle_transactions_total{{{by},result="stored"}} {of["batches"]}',
            f'spindle_transactions_total{{{by},result="conflict"}} {of["tries"]}',
            *(f'spindle_records_total{{{by},outcome="{outcome}"}} {count + 7}' for outcome, count in outcomes.items()),
            f'spindle_batch_size_records_count{{{by},trigger="size"}} {of["batches"] - of["by_bytes"]}',
            f'spindle_batch_size_records_count{{{by},trigger="bytes"}} {of["by_bytes"]}',
            f'spindle_batch_size_records_sum{{{by},trigger="size"}} {of["size"]}',
            f"spindle_batch_room_records_total{{{by}}} {of['room']}",
            f'spindle_transaction_time_seconds_total{{{by},result="stored"}} {of["stored"]}',
            f'spindle_transaction_time_seconds_total{{{by},result="conflict"}} {of["failed"]}',
        ]
    return "\n".join(lines) + "\n"


def look(
    at: float,
    service: Service,
    kinds: tuple[str, ...],
    *,
    waiting: int,
    sent: int = 0,
    alarms: tuple[str, ...] = (),
    address: str = "a:1",
    waits: Mapping[Waiting, int] | None = None,
    pressure: Pressure = UNTOLD,
    **moved: float,
) -> Look:
    broker = BrokerState(
        "here",
        ("amqp",),
        queues={NAMES.queue(service, kind): QueueState(waiting, sent) for kind in kinds},
        alarms=alarms,
    )
    replicas = [Replica(service, address, counters(service, kinds, **moved))]
    picture = paint(replicas, broker, services=[service], kinds=kinds, names=NAMES, latencies={})
    return Look(at, slim(picture), {service: waits or {}}, pressure)


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


LIMITS: list[tuple[dict[str, Any], Limit]] = [
    ({}, Limit.STORE),
    ({"waits": seen(Wait.COMPUTES, "CPU")}, Limit.STORE_CPU),
    ({"waits": seen(Wait.DISK, "IO WALSync", beside=Wait.COMPUTES)}, Limit.STORE_DISK),
    ({"waits": seen(Wait.DISK, "IO WALSync", checkpoint=True)}, Limit.CHECKPOINT),
    ({"waits": seen(Wait.LOCKS, "Lock relation", beside=Wait.DISK)}, Limit.STORE_LOCKS),
    ({"waits": seen(Wait.CLIENT, "Client ClientRead")}, Limit.ROUND_TRIPS),
    ({"waits": seen(Wait.OTHER, "Timeout PgSleep", beside=Wait.COMPUTES)}, Limit.STORE),
    ({"waits": seen(Wait.CLIENT, "Client ClientRead"), "lag": 0.8}, Limit.LOOP_LAG),
    ({"waits": seen(Wait.CLIENT, "Client ClientRead", beside=Wait.COMPUTES), "cpu": 65.0}, Limit.STORE),
    ({"limit": 5, "batches": 20_000}, Limit.BATCHES),
    ({"limit": 5, "batches": 20_000, "cpu": 97.0}, Limit.BATCHES),
    ({"limit": 50, "new": 10_000, "size": 10_000, "room": 10_000}, Limit.STORE),
    ({"batches": 10_000, "by_bytes": 9_000, "room": 5_000_000}, Limit.BYTES),
    ({"batches": 10_000, "by_bytes": 9_000, "room": 500_000, "limit": 50}, Limit.BYTES),
    ({"batches": 10_000, "room": 5_000_000, "unsettled": 600}, Limit.PREFETCH),
    ({"stored": 60.0, "cpu": 97.0}, Limit.CPU),
    ({"stored": 190.0, "cpu": 95.0}, Limit.BALANCED),
    ({"stored": 60.0, "lag": 2.0}, Limit.LOOP_LAG),
    ({"stored": 60.0, "by_bytes": 190}, Limit.BYTES),
    ({"stored": 60.0, "batches": 2000, "room": 1_000_000, "unsettled": 600}, Limit.PREFETCH),
    ({"stored": 60.0, "batches": 2000, "room": 1_000_000, "unsettled": 600, "sent": 2000}, Limit.NETWORK),
    ({"stored": 60.0, "batches": 2000, "room": 1_000_000}, Limit.BATCHES),
    ({**CROWDED, "unsettled": 600, "sent": 2000}, Limit.CPU),
    (CROWDED, Limit.CPU),
    ({**CROWDED, "limit": 50, "room": 250_000}, Limit.CPU),
    ({**CROWDED, "unsettled": 400, "sent": 500}, Limit.PREFETCH),
    ({**CROWDED, "by_bytes": 3000}, Limit.BYTES),
    ({**CROWDED, "stored": 190.0, "cpu": 20.0, "lag": 0.8, "unsettled": 600, "sent": 2000}, Limit.STORE),
    ({"stored": 60.0}, Limit.UNKNOWN),
    ({"stored": 110.0, "cpu": 20.0}, Limit.STORE),
]
"""What a run behind a backlog differs in from one that some store limits, and its one finding."""

TROUBLES: list[tuple[dict[str, Any], Limit]] = [
    ({"breaker": 1.0}, Limit.STORE_AWAY),
    ({"paused": 1.0}, Limit.STOPPED),
    ({"refusing": 1.0}, Limit.STOPPED),
    ({"alarms": ("memory",)}, Limit.BROKER_ALARM),
    ({"pressure": Pressure(memory=0.96)}, Limit.MEMORY),
    ({"failed": 40.0, "stored": 150.0}, Limit.RETRIES),
    ({"dead": 3_000}, Limit.DEAD_LETTERS),
    ({"new": 20_000, "unchanged": 80_000}, Limit.DUPLICATES),
]
"""What is found beside the limit, which is some store."""

NAMED = [f"{limit}-{number}" for number, (_, limit) in enumerate([*LIMITS, *TROUBLES])]


@pytest.mark.parametrize(("moved", "limit"), LIMITS, ids=NAMED[: len(LIMITS)])
def test_behind_a_backlog_one_stage_is_the_limit(moved: dict[str, Any], limit: Limit) -> None:
    found = advice(**{**BUSY, **moved})

    assert (limits(found), found.limit) == ([limit], limit)
    assert found.findings[0].sentence in found.verdict


@pytest.mark.parametrize(("moved", "limit"), TROUBLES, ids=NAMED[len(LIMITS) :])
def test_what_is_the_matter_is_said_before_what_limits(moved: dict[str, Any], limit: Limit) -> None:
    assert limits(advice(**{**BUSY, **moved})) == [limit, Limit.STORE]


@pytest.mark.parametrize(("moved", "limit"), [*LIMITS, *TROUBLES], ids=NAMED)
def test_a_finding_says_what_shows_it_over_how_long_and_what_to_change(moved: dict[str, Any], limit: Limit) -> None:
    finding = advice(**{**BUSY, **moved}).findings[0]

    assert finding.change
    assert finding.evidence
    assert all(each.metric and each.window == SECONDS for each in (*finding.evidence, *finding.against))
    assert 0 <= finding.share <= 2  # (of the event loop it is seconds)
    assert not {each.meter for each in finding.evidence} & {each.meter for each in finding.against}


def test_that_nothing_is_busy_is_not_said_beside_what_is_the_matter() -> None:
    found = advice(**{**IDLE, "new": 20_000, "unchanged": 80_000})

    assert (limits(found), found.limit) == ([Limit.DUPLICATES], Limit.DUPLICATES)
    assert found.findings[0].sentence in found.verdict


def test_a_kind_that_goes_on_beside_its_suspects_is_not_said_to_stand_still() -> None:
    going, standing = advice(**BUSY, suspects=3), advice(suspects=3)

    assert going.findings[0].sentence == "releases holds records back: suspects"
    assert standing.findings[0].sentence == "releases stands still: suspects"


def test_a_checkpoint_that_nobody_could_see_is_no_evidence_and_is_said_to_be_unseen() -> None:
    [told] = advice(**BUSY, waits={Waiting(Wait.DISK, "IO WALSync", False): 80}).findings
    [blind] = advice(**BUSY, waits={Waiting(Wait.DISK, "IO WALSync"): 80}).findings

    assert [any("checkpoint" in each.meter for each in finding.against) for finding in (told, blind)] == [True, False]
    assert ["checkpointer" in finding.unseen for finding in (told, blind)] == [False, True]


def test_each_evidence_says_for_itself_what_it_is_about() -> None:
    kinds = [each for each in vars(evidence).values() if getattr(each, "__annotations__", {}).get("return") is Evidence]

    assert len(kinds) > 12
    assert len({each.__doc__ for each in kinds} - {None}) == len(kinds)
    assert all("\n" not in each.__doc__ for each in kinds)


def test_a_few_samples_of_a_store_say_nothing_of_it() -> None:
    assert limits(advice(**BUSY, waits={Waiting(Wait.LOCKS, "Lock relation"): SEEN - 1})) == [Limit.STORE]


def test_a_broker_that_slows_publishers_down_while_nothing_waits_is_the_limit() -> None:
    slowed = advice(**IDLE, waiting=0, pressure=Pressure(flow=True))
    behind = advice(**BUSY, pressure=Pressure(flow=True))

    assert limits(slowed) == [Limit.FLOW_CONTROL]
    assert limits(behind) == [Limit.STORE]


@pytest.mark.parametrize(
    "moved",
    [
        {"new": 100_000},
        {"new": 50_000, "waiting": 1_900},
        {"unchanged": 100_000, "new": 0},
        {"dead": 50},
        {"waits": seen(Wait.LOCKS), "pressure": Pressure(memory=0.6, flow=False), "lag": 0.3},
    ],
    ids=["new records", "some wait for a moment", "all unchanged", "a few bad records", "busy surroundings"],
)
def test_a_healthy_run_has_no_finding(moved: dict[str, Any]) -> None:
    found = advice(**{**IDLE, "waiting": 300, **moved})

    assert (found.judged, found.findings, found.limit) == (True, (), Limit.PUBLISHER)


def test_what_was_looked_at_and_is_not_the_limit_is_listed() -> None:
    found = advice(**BUSY, waits=seen(Wait.COMPUTES), pressure=Pressure(memory=0.2))

    aside = {each.meter for each in found.not_the_limit}
    assert "share of RabbitMQ's memory ceiling" in aside
    assert "CPU seconds per second of the busiest replica" in aside
    assert "share of 80 transactions seen in the store: locks" in aside
    assert "share of the writers' time in transactions" not in aside


def beside(
    service: Service, waiting: Mapping[str, int], moved: Mapping[str, Mapping[str, Any]], *, together: bool = False
) -> Meters:
    """What is seen of kinds that differ, each in a process of its own, or all in one."""
    nothing: Mapping[str, Mapping[str, Any]] = {kind: {} for kind in moved}
    looks = [
        look_beside(at, service, waiting, each, together=together) for at, each in ((0.0, nothing), (SECONDS, moved))
    ]
    meters = meters_of(looks, service)
    assert meters is not None
    return meters


def look_beside(
    at: float,
    service: Service,
    waiting: Mapping[str, int],
    moved: Mapping[str, Mapping[str, Any]],
    *,
    together: bool = False,
) -> Look:
    queues = {NAMES.queue(service, kind): QueueState(count) for kind, count in waiting.items()}
    texts = {kind: exposed(service, (kind,), **each) for kind, each in moved.items()}
    processes = {"a": "".join(texts.values())} if together else texts
    replicas = [Replica(service, f"{name}:1", Samples.parse(text)) for name, text in processes.items()]
    broker = BrokerState("here", ("amqp",), queues=queues)
    picture = paint(replicas, broker, services=[service], kinds=tuple({**waiting, **moved}), names=NAMES, latencies={})
    return Look(at, slim(picture), {service: {}})


SLOW_KIND: Mapping[str, Any] = {**BUSY, "new": 20_000, "batches": 40, "size": 20_000, "room": 20_000, "cpu": 5.0}
QUICK_KIND: Mapping[str, Any] = {
    "new": 5_000,
    "batches": 500,
    "size": 5_000,
    "room": 250_000,
    "stored": 10.0,
    "cpu": 5.0,
}
"""Of a kind that keeps up: small batches, hardly ever in a transaction."""


WAITING = {"releases": BACKLOG, "artists": 0, "labels": 0, "masters": 0}


@pytest.mark.parametrize("together", [True, False], ids=["in one process", "in a process each"])
def test_what_kinds_that_keep_up_do_does_not_hide_that_the_store_is_slow_for_another(together: bool) -> None:
    """Their half-empty batches were taken for those of the slow one, and their idle writers for its."""
    moved = dict.fromkeys(WAITING, QUICK_KIND) | {"releases": SLOW_KIND}

    found = advise(TABLE, beside(TABLE, WAITING, moved, together=together))

    assert limits(found) == [Limit.STORE]
    [finding] = found.findings
    assert "the writers of releases spend 95% of their time" in finding.sentence
    assert finding.evidence[0].meter == "share of the writers' time in transactions, releases"
    assert finding.gain == 100.0, "one writer more of three, of 200 releases a second"


def test_of_the_other_kinds_process_neither_cpu_nor_lag_nor_writers_count() -> None:
    moved = {"releases": SLOW_KIND, "artists": {**QUICK_KIND, "cpu": 97.0, "lag": 3.0, "writers": 6}}

    meters = beside(TABLE, {"releases": BACKLOG, "artists": 0}, moved)

    assert (meters.cpu, meters.lag, meters.writers, meters.sharing) == (0.05, 0.01, 2.0, 1)
    assert limits(advise(TABLE, meters)) == [Limit.STORE]
    assert gain_up_to(meters, 0.5) == 200.0, "as much again of releases, of which there are 200 a second"


def test_of_a_slow_kind_that_has_settled_little_nothing_is_said() -> None:
    moved = {"releases": {**SLOW_KIND, "new": 500}, "artists": QUICK_KIND}

    found = advise(TABLE, beside(TABLE, {"releases": BACKLOG, "artists": 0}, moved))

    assert (found.judged, found.findings) == (False, ())
    assert found.verdict.startswith("only 500 records of releases in 100 s, too few to judge by")


def test_all_points_of_a_plot_are_of_the_kind_before_which_most_waited_in_all() -> None:
    waiting = [{"releases": BACKLOG, "artists": 0}] * 2 + [{"releases": 0, "artists": 10}] * 2
    looks = [
        look_beside(
            SECONDS * at,
            TABLE,
            each,
            {"releases": {"new": 20_000 * at, "limit": 500}, "artists": {"new": 5_000 * at, "limit": 100}},
        )
        for at, each in enumerate(waiting)
    ]

    assert [point["batch_limit"] for point in series_of(looks, TABLE)] == [500.0] * 3


def test_of_one_kind_that_moves_the_batch_size_of_idle_ones_says_nothing() -> None:
    idle = {"limit": 500.0}

    meters = beside(
        TABLE, {"releases": BACKLOG}, {"releases": {**SLOW_KIND, "limit": 20.0}, "artists": idle}, together=True
    )

    assert (meters.batch, meters.of_kind) == (20.0, "")


def test_kinds_that_take_turns_keep_the_writers_busy_together() -> None:
    waiting = {"releases": BACKLOG, "artists": 10_000}
    turns = {"releases": {**SLOW_KIND, "stored": 100.0}, "artists": {**QUICK_KIND, "stored": 90.0}}

    found = advise(GRAPH, beside(GRAPH, waiting, turns, together=True))

    assert limits(found) == [Limit.STORE]
    assert "the writers spend 95% of their time" in found.findings[0].sentence


def test_kinds_take_turns_only_within_a_process() -> None:
    turns = {"releases": {**SLOW_KIND, "stored": 100.0}, "artists": {**SLOW_KIND, "stored": 90.0}}
    without_writers = {"releases": {**SLOW_KIND, "failed": 80.0}, "artists": {"writers": 0}}

    assert beside(GRAPH, {"releases": BACKLOG, "artists": 10}, without_writers).failing == pytest.approx(0.4)
    assert beside(GRAPH, {"releases": BACKLOG, "artists": 10}, turns).writing == 0.5
    assert beside(GRAPH, {"releases": 0, "artists": 0}, turns).writing == 0.475


def test_a_kind_that_is_paused_is_not_the_one_that_is_judged() -> None:
    moved = {"releases": {"paused": 1.0}, "artists": QUICK_KIND}

    meters = beside(TABLE, {"releases": BACKLOG, "artists": 1}, moved)

    assert (meters.kind, meters.backlog, meters.due) == ("artists", [BACKLOG + 1] * 2, [1, 1])
    assert beside(TABLE, {"releases": BACKLOG, "artists": 0}, moved).kind == "artists", "the only one that is not"
    assert limits(advise(TABLE, meters)) == [Limit.STOPPED]


def test_a_kind_that_goes_on_is_judged_though_something_of_it_is_held_back() -> None:
    moved = {"releases": {**SLOW_KIND, "suspects": 1.0}, "artists": QUICK_KIND}

    found = advise(TABLE, beside(TABLE, {"releases": BACKLOG, "artists": 1}, moved))

    assert limits(found) == [Limit.STOPPED, Limit.STORE]


def test_a_kind_of_which_no_process_answers_is_not_judged() -> None:
    meters = beside(TABLE, {"releases": BACKLOG, "artists": 1}, {"artists": SLOW_KIND, "releases": {}})
    gone = beside(TABLE, {"releases": BACKLOG, "artists": 1}, {"artists": SLOW_KIND})

    assert (meters.kind, gone.kind) == ("releases", "artists")
    assert limits(advise(TABLE, gone)) == [Limit.STORE]


def test_where_nothing_waits_all_kinds_are_judged_together() -> None:
    meters = beside(TABLE, {"releases": 0, "artists": 0}, {"releases": SLOW_KIND, "artists": QUICK_KIND})

    assert (meters.kind, meters.writing, meters.fill) == (None, 0.5, 25_000 / 270_000)


def test_without_the_brokers_answer_the_kind_is_judged_that_has_most_in_hand() -> None:
    meters = beside(TABLE, {}, {"artists": QUICK_KIND, "releases": SLOW_KIND})

    assert (meters.kind, meters.writing) == ("releases", 0.95)


def test_a_kind_that_hangs_is_seen_beside_one_that_moves() -> None:
    moved = {"releases": {"unsettled": 1000, "in_use": 2.0}, "artists": SLOW_KIND}

    [finding, *_] = advise(TABLE, beside(TABLE, {"releases": BACKLOG, "artists": 0}, moved)).findings

    assert finding.limit is Limit.STANDSTILL
    assert finding.sentence.startswith("nothing of releases was settled in 100 s although records wait")


def test_what_another_kind_repeats_is_not_the_slow_ones_matter() -> None:
    moved = {"releases": SLOW_KIND, "artists": {**QUICK_KIND, "new": 0, "unchanged": 200_000}}

    assert limits(advise(TABLE, beside(TABLE, {"releases": BACKLOG, "artists": 0}, moved))) == [Limit.STORE]


def test_what_no_failed_transactions_would_gain_is_a_matter_of_all_writers() -> None:
    moved = {"releases": {**SLOW_KIND, "stored": 40.0}, "artists": {**QUICK_KIND, "stored": 40.0, "failed": 80.0}}

    [finding, *_] = advise(TABLE, beside(TABLE, {"releases": BACKLOG, "artists": 0}, moved)).findings

    assert (finding.limit, finding.gain) == (Limit.RETRIES, 250.0)


@pytest.mark.parametrize(
    ("late", "cpu", "limit"),
    [(1, 20.0, Limit.ROUND_TRIPS), (3, 20.0, Limit.LOOP_LAG), (1, 75.0, Limit.LOOP_LAG)],
    ids=["a hitch", "most of the time", "beside a busy process"],
)
def test_a_loop_that_was_late_once_explains_no_wait_for_the_next_statement(late: int, cpu: float, limit: Limit) -> None:
    moved = {**BUSY, "cpu": cpu, "waits": seen(Wait.CLIENT, "Client ClientRead")}
    lags = [0.8] * late + [0.01] * (5 - late)
    looks = [
        look(25.0 * number, TABLE, ("releases",), waiting=BACKLOG, lag=lag, **(moved if number == 4 else {}))
        for number, lag in enumerate(lags)
    ]

    found = advise(TABLE, meters_of(looks, TABLE))

    assert limits(found) == [limit]
    assert "seconds that the event loop was late" in {each.meter for each in found.findings[0].evidence}


@pytest.mark.parametrize(
    ("parts", "behind"),
    [
        (((50, "WELL"), (10, "LOCKED")), False),
        (((20, "WELL"), (40, "LOCKED")), True),
        (((20, "NOTHING"), (20, "FEW")), False),
        (((30, "FEW"),), None),
    ],
)
def test_a_service_is_behind_if_records_waited_most_of_the_time(
    parts: tuple[tuple[int, str], ...], behind: bool | None
) -> None:
    of: dict[str, dict[str, Any]] = {"WELL": WELL, "LOCKED": LOCKED, "NOTHING": {"waiting": 0}, "FEW": {"new": 2}}

    assert judge(TABLE, run_of(*((count, of[name]) for count, name in parts))).behind is behind


def run_of(*parts: tuple[int, dict[str, Any]], service: Service = TABLE) -> list[Look]:
    """Looks every 2 s; a part: how many, and by how much its counters move from one to the next (the rest is so)."""
    state: dict[str, Any] = dict.fromkeys((*BUSY, "unchanged"), 0.0)
    at, looks = 0.0, list[Look]()
    counted: dict[Waiting, int] = {}
    for count, moved in parts:
        for _ in range(count):
            waits, waiting = moved.get("waits", {}), moved.get("waiting", BACKLOG)
            looks.append(look(at, service, ("releases",), waiting=waiting, waits=dict(counted), **state))
            at += 2.0
            state = {key: value + moved.get(key, 0.0) for key, value in state.items()}
            counted = {each: counted.get(each, 0) + waits.get(each, 0) for each in {*counted, *waits}}
    return [*looks, look(at, service, ("releases",), waiting=0, waits=dict(counted), **state)]


WELL = {"new": 10_000, "batches": 20, "size": 10_000, "room": 10_000, "stored": 0.8, "cpu": 0.7, "waiting": 0}
SLOW = {"new": 2_000, "batches": 4, "size": 2_000, "room": 2_000, "stored": 3.9, "cpu": 0.2}
LOCKED = {**SLOW, "waits": {Waiting(Wait.LOCKS, "Lock relation"): 16}}


def test_a_store_that_is_slow_in_the_middle_is_found_and_said_when() -> None:
    found = judge(TABLE, run_of((20, WELL), (20, LOCKED), (20, WELL)))

    [finding] = found.findings
    assert finding.limit is Limit.STORE_LOCKS
    assert finding.share == pytest.approx(1 / 3, abs=0.08)
    assert "of the time, A store is the limit: 100% of its transactions wait for locks" in found.verdict
    assert [phase.limit for phase in found.phases] == [Limit.PUBLISHER, Limit.STORE_LOCKS, Limit.PUBLISHER]
    assert found.phases[1].begin == pytest.approx(40, abs=8)
    assert found.phases[1].end == pytest.approx(80, abs=8)
    assert found.phases[-1].end == 120


def test_a_stretch_that_is_short_beside_the_whole_is_no_finding() -> None:
    found = judge(TABLE, run_of((60, WELL), (5, SLOW), (60, WELL)))

    assert (found.judged, found.findings, found.limit) == (True, (), Limit.PUBLISHER)


def test_what_is_the_matter_with_the_records_is_found_beside_what_limits_when() -> None:
    again = {**SLOW, "new": 0, "unchanged": 2_000}

    found = judge(TABLE, run_of((10, WELL), (60, again)))

    assert limits(found) == [Limit.STORE, Limit.DUPLICATES]


def test_a_standstill_in_the_middle_is_found() -> None:
    found = judge(TABLE, run_of((20, WELL), (20, {"waiting": BACKLOG}), (20, WELL)))

    assert limits(found) == [Limit.STANDSTILL]
    assert [phase.limit for phase in found.phases] == [Limit.PUBLISHER, Limit.STANDSTILL, Limit.PUBLISHER]


def test_parts_that_say_something_only_together_are_put_to_the_same_before_and_after() -> None:
    """A store that is so slow that a part of 8 s has too few records, between parts that have enough."""
    crawl = {**SLOW, "new": 50, "batches": 1, "size": 50, "room": 50}

    found = judge(TABLE, run_of((20, WELL), (5, SLOW), (40, crawl), (5, SLOW), (20, WELL)))

    assert [phase.limit for phase in found.phases] == [Limit.PUBLISHER, Limit.STORE, Limit.PUBLISHER]


def test_a_short_window_is_judged_as_a_whole() -> None:
    assert judge(TABLE, run_of((3, WELL), (10, SLOW))).phases == ()


def test_looks_stay_few_and_cover_all_of_the_time() -> None:
    kept, empty = Looks(), look(0.0, TABLE, (), waiting=0)
    for at in range(9 * MOST):
        kept.add(replace(empty, at=float(at)))

    assert len(kept.kept) <= MOST
    assert (kept.kept[0].at, kept.kept[-1].at) == (0.0, 9.0 * MOST - 1)
    assert kept.interval > 16


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

    found = advise(TABLE, meters_of(blind, TABLE))

    assert found.judged is False
    assert found.verdict.endswith("and whether more wait can't be seen")


def test_that_nothing_is_busy_is_no_finding_if_nobody_could_see_whether_records_wait() -> None:
    moments = [look(0.0, TABLE, ("releases",), waiting=0), look(SECONDS, TABLE, ("releases",), waiting=0, **IDLE)]
    blind = [
        replace(each, picture=replace(each.picture, services=tuple(_blind(state) for state in each.picture.services)))
        for each in moments
    ]

    found = advise(TABLE, meters_of(blind, TABLE))

    assert (found.judged, found.findings, found.limit) == (False, (), None)
    assert "whether records wait can't be seen" in found.verdict


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


def test_a_gain_is_what_the_next_stage_leaves_room_for_or_one_of_two_writers_more() -> None:
    [of_cpu] = advice(**{**BUSY, "stored": 80.0, "cpu": 97.0}).findings
    [of_store] = advice(**BUSY).findings

    assert of_cpu.gain == pytest.approx(1000 * (1 / 0.4 - 1))
    assert of_store.gain == pytest.approx(1000 / 2)


BEGAN = datetime(2026, 9, 1, 20, 0, tzinfo=UTC)


def report(*parts: tuple[int, dict[str, Any]], title: str = "") -> tuple[list[Advice], Report]:
    window = Window(run_of(*parts), BEGAN, "made up")
    found = judged(window)
    return found, json.loads(json.dumps(report_of(window, found, title=title)))


def test_it_is_told_to_people_and_to_programs() -> None:
    found, data = report((20, WELL), (20, LOCKED))
    screen = StringIO()

    show(found, data, Console(file=screen, width=200))
    told = data["services"]["tableinator"]

    assert "of the time, A store is the limit: 100% of its transactions wait for locks" in screen.getvalue()
    assert "not the limit: CPU seconds per second of the busiest replica" in screen.getvalue()
    assert "  when\n    0:00 to 0:40     5,000 records/s  Keeps up" in screen.getvalue().replace("  keeps", "  Keeps")
    assert told["findings"][0]["limit"] == "store_locks"
    assert told["findings"][0]["evidence"][0] == {
        "meter": "share of the writers' time in transactions",
        "value": pytest.approx(0.975),
        "bound": 0.7,
        "metric": "spindle_transaction_time_seconds_total",
        "window": 40.0,
    }
    assert told["numbers"]["rate"] == 3000
    assert len(told["series"]) == 40


def test_a_report_is_compared_with_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "earlier").write_text(json.dumps(report((20, SLOW))[1]))
    found, data = report((20, WELL))
    earlier = read_report(tmp_path / "earlier")
    screen = StringIO()

    difference = compared(data, earlier)
    show(found, {**data, "against": difference}, Console(file=screen, width=200))

    told = difference["services"]["tableinator"]
    assert told["limit"] == ["store", "publisher"]
    assert told["numbers"]["rate"] == {"before": 1000, "now": 5000, "ratio": 5.0}
    assert re.search(r"records/s +1,000 +5,000 +5[.]00", screen.getvalue())
    assert "Against the report of 2026-09-01 20:00 UTC" in page_of({**data, "against": difference})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 9, "services": {}}'])
def test_what_is_no_report_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "other").write_text(text)

    with pytest.raises(StartRefused, match=r"other (is no report|is a report of format 9)"):
        read_report(tmp_path / "other")


@pytest.mark.parametrize(
    "change",
    [
        lambda data, _: data.pop("began"),
        lambda data, _: data.update(began="yesterday"),
        lambda data, _: data.update(title=7),
        lambda _, service: service.update(limit=["store"]),
        lambda _, service: service["numbers"].update(rate="fast"),
        lambda _, service: service.update(numbers=[]),
    ],
)
def test_a_report_that_can_not_be_compared_with_is_refused_when_it_is_read(
    tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]
) -> None:
    data: dict[str, Any] = dict(report((20, SLOW))[1])
    change(data, data["services"]["tableinator"])
    (tmp_path / "other").write_text(json.dumps(data))

    with pytest.raises(StartRefused, match="other is no report"):
        read_report(tmp_path / "other")


def test_the_page_is_whole_names_no_address_and_escapes_what_it_shows() -> None:
    found, data = report((20, WELL), (20, LOCKED), (20, WELL), title="load <20260901> & more")

    page = page_of(data)

    assert parsed(page).errors == []
    assert parsed(page).addresses == []
    assert "load &lt;20260901&gt; &amp; more" in page
    assert page.count("<figure>") == 9  # (RabbitMQ's memory is not known)
    assert page.count('<rect class="limited"') == 9
    assert found[0].findings[0].change[1:] in page
    assert "prefers-color-scheme: dark" in page
    assert len(page) < 100_000


def test_a_plot_has_a_bounded_number_of_points() -> None:
    points = report((3 * POINTS, WELL))[1]["services"]["tableinator"]["series"]

    assert POINTS / 2 < len(points) <= POINTS
    assert points[-1]["at"] == 6.0 * POINTS


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:9090", "ftp://host", "http://", "http://me:secret@host:9090", "http://[x", "http://host:port"),
        *("http://host/?token=secret", "http://host/#secret", "http://:secret@host", "http://me:sec?secret@host"),
    ],
)
def test_a_url_that_is_none_of_prometheus_is_refused(url: str) -> None:
    with pytest.raises(StartRefused, match="is not http://host:port") as refusal:
        Prometheus.at(url)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("answer", [b"HTTP/1.0 200 OK\r\n\r\nhello", b"HTTP/1.0 404 No\r\n\r\n[]", b"", None])
def test_what_is_no_prometheus_can_not_be_asked(answer: bytes | None) -> None:
    """Another server, one that hangs up, and a port that nothing listens on."""
    settings = load(OperatorSettings, {})
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if answer is None:
            server.close()
        else:
            threading.Thread(target=_answer_once, args=(server, answer)).start()

        with pytest.raises(StartRefused, match=rf"http://127.0.0.1:{port} can't be asked"):
            Prometheus.at(f"http://127.0.0.1:{port}").look_back(settings, BEGAN, BEGAN + timedelta(minutes=1))


class OfTwoStacks(BaseHTTPRequestHandler):
    """A Prometheus that two stacks are in, as far as a look back asks it; counts what is asked."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        [query], [start] = body["query"], body["start"]
        self.asked.append(query)
        spaces = [each for each in ("prod", "test") if "namespace=" not in query or f'namespace="{each}"' in query]
        labels = {"__name__": "spindle_writers", "service": "tableinator", "job": "t", "kind": "releases"}
        series = [
            {
                "metric": labels | {"namespace": each, "instance": f"{each}:1"},
                "values": [[float(start) + step, "2"] for step in (0.0, 10.0)],
            }
            for each in (spaces if "spindle_writers" in query else [])
        ]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"status": "success", "data": {"result": series}}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Log nothing."""


def test_of_several_stacks_in_one_prometheus_one_is_chosen() -> None:
    settings, end = load(OperatorSettings, {}), BEGAN + timedelta(minutes=1)
    with HTTPServer(("127.0.0.1", 0), OfTwoStacks) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"

        with pytest.raises(StartRefused, match=r'job="t", namespace="prod"; job="t", namespace="test"\. Choose one'):
            Prometheus.at(url).look_back(settings, BEGAN, end)
        OfTwoStacks.asked.clear()
        window = Prometheus.at(url, 'namespace="prod"').look_back(settings, BEGAN, end)
        server.shutdown()

    replicas = [each.address for state in window.looks[0].picture.services for each in state.replicas]
    assert replicas == ["prod:1"]
    assert window.source == f'Prometheus at {url} (namespace="prod")'
    assert all('namespace="prod"' in each for query in OfTwoStacks.asked for each in re.findall(r"{(.*?)}", query))
    assert len(OfTwoStacks.asked) == 6


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('namespace="prod"', True),
        ('namespace="prod",job=~"spindle/.*"', True),
        ("namespace=prod", False),
        ('namespace!="prod"', False),
        ('a="b"} or up{c="d"', False),
        ('a="b\\"', False),
        ("", False),
    ],
)
def test_only_pairs_of_labels_and_values_narrow_a_look_back(text: str, fits: bool) -> None:
    assert is_match(text) is fits


def _answer_once(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(answer)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from", "2026-09-01T20:00"],
        ["--prometheus", "http://127.0.0.1:1", "--from", "5m", "--to", "10m"],
        ["--against", "nowhere"],
        ["--extractor", "nowhere"],
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_watched(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["advise", *arguments]) == 2
    assert re.search(r"are for --prometheus|is not before --to|nowhere can't be read", capsys.readouterr().err)


@pytest.mark.parametrize("text", ["yesterday", "", "-5m", "5 apples", "2026-13-01"])
def test_a_time_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["advise", "--prometheus", "http://127.0.0.1:1", f"--from={text}"])
    assert "is neither a time such as 2026-09-01T20:00" in capsys.readouterr().err


class parsed(HTMLParser):
    """A page's elements that are not closed, or closed and not open, and what would be fetched from elsewhere."""

    VOID = frozenset({"meta", "line", "rect", "path"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self._open: list[str] = []
        self.errors: list[str] = []
        self.addresses = re.findall(r"(?:https?:)?//[\w.]+|url\([^)]*\)|@import|<script|<link", page)
        self.feed(page)
        self.errors += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.errors.append(f"</{tag}>")


@pytest.mark.parametrize(
    ("words", "wait"),
    [
        (("", ""), Wait.COMPUTES),
        (("IO", "DataFileRead"), Wait.DISK),
        (("LWLock", "WALWrite"), Wait.DISK),
        (("LWLock", "BufferContent"), Wait.OTHER),
        (("Lock", "transactionid"), Wait.LOCKS),
        (("Client", "ClientRead"), Wait.CLIENT),
        (("Timeout", "PgSleep"), Wait.OTHER),
    ],
)
def test_wait_events_of_postgresql_are_understood(words: tuple[str, str], wait: Wait) -> None:
    assert table_activity.waiting(*words).wait is wait


@pytest.mark.parametrize(
    ("row", "wait"),
    [
        (("UNWIND", "Running", 1000, 0), Wait.COMPUTES),
        (("UNWIND", "Running", 900, 100), Wait.DISK),
        (("UNWIND", "Blocked by: [neo4j-transaction-7]", 10, 0), Wait.LOCKS),
        (("", "Running", 10, 0), Wait.CLIENT),
        (("", "Closing", 10, 0), Wait.OTHER),
        (("UNWIND", "Closing", 900, 100), Wait.OTHER),
    ],
)
def test_transactions_of_neo4j_are_understood(row: tuple[str, str, int, int], wait: Wait) -> None:
    assert graph_activity.waiting(*row).wait is wait


@pytest.mark.parametrize(
    ("environ", "services"),
    [
        ({}, set()),
        ({"POSTGRES_HOST": "h", "NEO4J_HOST": "h"}, set()),
        ({"POSTGRES_PASSWORD": "a", "NEO4J_PASSWORD": "b"}, {TABLE, GRAPH}),
        ({"POSTGRES_DSN": "postgresql://u@h/d"}, {TABLE}),
    ],
)
def test_a_store_is_looked_into_only_with_a_login_that_is_given(
    environ: Mapping[str, str], services: set[Service]
) -> None:
    openings, wrong = openings_of(environ)

    assert (set(openings), wrong) == (services, {})


def test_a_wrong_setting_of_a_store_is_told_and_ends_what_is_about_it_alone() -> None:
    environ = {"POSTGRES_PASSWORD": "secret", "POSTGRES_PORT": "abc", "NEO4J_PASSWORD": "b"}

    assert "POSTGRES_PORT is 'abc'" in Observer(environ).unseen[TABLE]
    with pytest.raises(SettingsError, match="POSTGRES_PORT is 'abc'"):
        Observer(environ, is_about_it=True)


async def test_a_sampler_that_fails_ends_alone_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        async def __aenter__(self) -> Activity:
            raise KeyError("a column")

        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr(watching, "openings_of", lambda _: ({GRAPH: Broken}, {}))
    observer = Observer({})

    async def looking() -> str:
        while not observer.unseen.get(GRAPH):
            await asyncio.sleep(0)
        return "looked"

    async with asyncio.timeout(10):
        assert await observer.beside(looking) == "looked"
    assert observer.unseen[GRAPH] == "KeyError: 'a column'"


@pytest.mark.parametrize("moved", [SLOW, WELL])
def test_what_can_not_be_seen_in_a_store_is_said_whatever_is_found(moved: dict[str, Any]) -> None:
    window = Window(run_of((20, moved)), BEGAN, "made up", {TABLE: "a member sees <more>"})
    found, screen = judged(window), StringIO()
    data = report_of(window, found)

    show(found, data, Console(file=screen, width=200))

    assert "can't see in the store: a member sees <more>" in screen.getvalue()
    assert "a member sees &lt;more&gt;" in page_of(json.loads(json.dumps(data)))


AWAY = BrokerState("here", trouble="RabbitMQ at here refused the login; RabbitMQ's management API at there: no")


@pytest.mark.parametrize(
    ("broker", "pressure", "words"),
    [
        (AWAY, UNTOLD, f"whether records wait, nor alarms, memory and flow control: {AWAY.trouble}"),
        (
            BrokerState("here", ("amqp",)),
            Pressure(trouble="no management API is named"),
            "alarms, memory and flow control of RabbitMQ: no management API is named",
        ),
        (BrokerState("here", ("amqp", "management")), Pressure(0.1, flow=False, blocked=False), ""),
    ],
)
def test_what_rabbitmq_does_not_tell_is_said_with_the_reason(
    broker: BrokerState, pressure: Pressure, words: str
) -> None:
    looks = [replace(each, picture=replace(each.picture, broker=broker)) for each in run_of((20, SLOW))]
    window = Window([replace(each, pressure=pressure) for each in looks], BEGAN, "made up")
    found, screen = judged(window), StringIO()
    data = report_of(window, found)

    show(found, data, Console(file=screen, width=400))

    assert data["unseen"] == words
    assert [line for line in screen.getvalue().splitlines() if line.startswith("can't see")] == (
        [f"can't see {words}"] if words else []
    )
    page = page_of(json.loads(json.dumps(data)))
    assert (f"<p>Can't see {escape(words)}.</p>" if words else "<main><section>") in page


def test_an_alarm_that_nobody_could_have_seen_is_not_said_to_be_none() -> None:
    untold, told = advice(**BUSY), advice(**BUSY, pressure=Pressure(blocked=False))

    assert "share of the looks with an alarm" not in {each.meter for each in untold.not_the_limit}
    assert "share of the looks with an alarm" in {each.meter for each in told.not_the_limit}
    assert limits(advice(**IDLE, pressure=Pressure(blocked=True)))[0] is Limit.BROKER_ALARM


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (
            {"began": 5.0},
            {"began": 7.0},
            "every replica that answers began meanwhile, or began again: look again",
        ),
        (None, {}, "no replica answered at first: look again"),
        ({}, None, "no replica answers (a:1: the host's name is not known)"),
    ],
)
def test_why_a_service_can_not_be_measured_is_said(
    first: Mapping[str, Any] | None, last: Mapping[str, Any] | None, words: str
) -> None:
    looks = [
        look(at, TABLE, ("releases",), waiting=0, **(moved or {})) for at, moved in ((0.0, first), (SECONDS / 4, last))
    ]
    silent = Replica(TABLE, "a:1", trouble=("the host's name is not known",))
    for number, moved in enumerate((first, last)):
        if moved is None:
            picture = looks[number].picture
            [state] = picture.services
            looks[number] = replace(
                looks[number], picture=replace(picture, services=[replace(state, replicas=[silent])])
            )

    found = judge(TABLE, looks)

    assert (found.verdict, found.judged) == (words, False)


def test_a_finding_by_the_lower_bound_shows_that_bound() -> None:
    by_half = advice(**{**BUSY, "stored": 110.0, "cpu": 20.0}).findings[-1]
    by_all = advice(**BUSY).findings[-1]

    assert [found.evidence[0].bound for found in (by_half, by_all)] == [HALF_BUSY, LIMIT_BUSY]


def test_the_last_look_is_no_nearer_to_the_one_before_than_half_of_the_others() -> None:
    looks, left, pauses = Looks(), 14.3, []
    while left > 0:
        pauses.append(pause_before(looks, left))
        left -= pauses[-1]

    assert sum(pauses) == pytest.approx(14.3)
    assert all(looks.interval / 2 <= pause <= 1.5 * looks.interval for pause in pauses)


def test_replicas_that_came_or_went_are_said_to_be_left_out() -> None:
    kinds = ("releases",)
    begun, ended = look(0.0, TABLE, kinds, waiting=BACKLOG), look(SECONDS, TABLE, kinds, waiting=BACKLOG, **BUSY)
    [state] = ended.picture.services
    new = Replica(TABLE, "b:1", counters(TABLE, kinds, **BUSY))
    picture = replace(ended.picture, services=[replace(state, replicas=[*state.replicas, new])])

    found = advise(TABLE, meters_of([begun, Look(SECONDS, picture)], TABLE))

    assert limits(found) == [Limit.STORE]
    assert found.verdict.endswith("replicas that began or ended meanwhile are not in it")


def published(**said: Any) -> KindReport:
    """A minute of publishing the releases of a dump: one process parses and publishes them, all the time."""
    of: dict[str, Any] = {"published": 60_000, "seconds": 60.0, "cpu_seconds": 57.0, "parsers": 1}
    of |= {"read": 60_000, "parsed": 60_000, "waited": {Awaited.BROKER: 2.0}}
    return KindReport("releases", "a file", Ending.COMPLETE, **(of | said))


PUBLISHING: list[tuple[dict[str, Any], PublishingLimit, str]] = [
    ({}, PublishingLimit.PARSING, "EXTRACTOR_PARSERS=2"),
    ({"waited": {Awaited.PARSERS: 40.0}, "cpu_seconds": 19.0, "parsers": 2}, PublishingLimit.PARSERS, "PARSERS=3"),
    ({"parsers": 2}, PublishingLimit.CUTTING, "more parsers would gain nothing"),
    ({"published": 3_000, "parsed": 3_000}, PublishingLimit.CUTTING, "more parsers would gain nothing"),
    ({"parsers": 0}, PublishingLimit.MAKING, "no setting"),
    ({"waited": {Awaited.BROKER: 40.0}, "cpu_seconds": 19.0}, PublishingLimit.CONFIRMS, "RabbitMQ's disk or CPU"),
    ({"waited": {Awaited.ROOM: 40.0}, "cpu_seconds": 19.0}, PublishingLimit.SERVICES, "what limits the services"),
    ({"cpu_seconds": 25.0}, PublishingLimit.UNKNOWN, "a core free"),
    ({"cpu_seconds": 25.0, "waited": {Awaited.CORE: 10.0}}, PublishingLimit.UNKNOWN, "the dump's disk"),
    ({"cpu_seconds": 25.0, "waited": {Awaited.CORE: 30.0}}, PublishingLimit.CORE, "more cores"),
    ({"cpu_seconds": 45.0, "waited": {Awaited.CORE: 14.0}}, PublishingLimit.PARSING, "EXTRACTOR_PARSERS=2"),
    ({"waited": dict.fromkeys(Awaited, 14.0), "cpu_seconds": 17.0}, PublishingLimit.BALANCED, "no one thing"),
]
"""What a report differs in from one of which parsing takes most, its one limit, and what to change."""


def test_every_limit_of_publishing_is_provoked() -> None:
    assert {limit for _, limit, _ in PUBLISHING} == set(PublishingLimit)


@pytest.mark.parametrize(("said", "limit", "change"), PUBLISHING)
def test_what_limits_publishing_is_what_its_process_did_most_of_the_time(
    said: dict[str, Any], limit: PublishingLimit, change: str
) -> None:
    found = advise_publishing([published(**said)], keeps_up=True)

    assert found is not None
    assert (found.limit, change in found.change) == (limit, True)
    assert found.evidence
    assert not {each.meter for each in found.evidence} & {each.meter for each in found.against}
    assert {each.window for each in (*found.evidence, *found.against)} == {60.0}


def test_of_several_kinds_and_rounds_the_kind_that_took_longest_is_judged() -> None:
    waits = {"waited": {Awaited.BROKER: 25.0}, "cpu_seconds": 4.0, "seconds": 30.0}
    artists = replace(published(seconds=50.0), kind="artists")

    found = advise_publishing([published(**waits), artists, published(**waits)], keeps_up=True)

    assert found is not None
    assert (found.kind, found.seconds, found.rate, found.limit) == (
        *("releases", 60.0, 2000.0),
        PublishingLimit.CONFIRMS,
    )


def test_too_little_was_published_to_judge_by_or_nothing_at_all() -> None:
    found = advise_publishing([published(published=999, read=999)], keeps_up=True)

    assert found is not None
    assert (found.limit, found.change) == (None, "")
    assert advise_publishing([published(published=0)], keeps_up=True) is None


@pytest.mark.parametrize(("part", "change"), [(WELL, True), (SLOW, False)], ids=["keep up", "do not"])
def test_what_to_change_of_publishing_is_said_while_the_services_keep_up_with_it(
    part: dict[str, Any], change: bool, tmp_path: Path
) -> None:
    page = keep(Window(run_of((15, part)), BEGAN, "made up"), tmp_path, "20260901", [published()])

    report = read_report(page.with_suffix(".json"))["publishing"]
    assert (report["limit"], bool(report["change"])) == ("parsing", change)
    assert ("but the services do not keep up" in report["sentence"]) is not change
    written = page.read_text()
    assert "and parsing is most of its work" in written
    assert ("EXTRACTOR_PARSERS=2" in written) is change
    assert not parsed(written).errors


@pytest.mark.parametrize(
    ("moved", "is_behind"),
    [
        ({**IDLE, "waiting": 300, "pressure": Pressure(flow=True)}, False),
        ({**IDLE, "waiting": 300, "pressure": Pressure(memory=0.96)}, False),
        ({**IDLE, "waiting": 300, "dead": 3_000}, False),
        ({"new": 10, "waiting": BACKLOG}, False),
        ({**IDLE, "waiting": 300, "began": 60.0}, False),
        (BUSY, True),
        ({**BUSY, "dead": 3_000}, True),
    ],
    ids=["flow control", "memory", "dead letters", "too few", "nobody answers", "slow store", "dead letters and slow"],
)
def test_only_records_that_wait_make_faster_publishing_worthless(moved: dict[str, Any], is_behind: bool) -> None:
    waiting = moved.get("waiting", BACKLOG)
    looks = [
        look(0.0, TABLE, ("releases",), waiting=waiting),
        look(SECONDS, TABLE, ("releases",), **{**moved, "waiting": waiting}),
    ]
    window = Window(looks, BEGAN, "made up", published=[published()])

    told = report_of(window, judged(window))["publishing"]

    assert ("do not keep up" in told["sentence"], told["change"] == "") == (is_behind, is_behind)


def test_a_process_for_which_no_core_was_free_is_told_apart_from_one_that_is_idle() -> None:
    """Of a load beside services and servers, on two cores; and of one that waited for something else."""
    waited = {Awaited.BROKER: 0.05, Awaited.ROOM: 0.02, Awaited.CORE: 2.24}

    crowded = advise_publishing([published(seconds=5.2, cpu_seconds=2.9, parsers=0, waited=waited)], keeps_up=True)
    idle = advise_publishing([published(cpu_seconds=9.0)], keeps_up=True)

    assert crowded is not None
    assert idle is not None
    assert crowded.sentence == "for 43% of the time its process was ready to compute, and no core was free for it"
    assert idle.sentence == (
        "for 97% of the time its process waited neither for RabbitMQ, nor for room in the queues, nor for parsers, and "
        "yet it computed little: the dump's disk may be slow, or no core was free"
    )


def test_a_process_that_was_killed_tells_nothing_of_publishing() -> None:
    killed = KindReport("releases", "a file", Ending.FAILED, published=60_000, seconds=90.0)
    artists = replace(published(), kind="artists")

    found = advise_publishing([killed, artists], keeps_up=True)

    assert found is not None
    assert (found.kind, found.limit) == ("artists", PublishingLimit.PARSING)
    assert advise_publishing([killed], keeps_up=True) is None


def test_of_several_rounds_the_most_parsers_count() -> None:
    found = advise_publishing([published(parsers=2), published(parsers=1)], keeps_up=True)

    assert found is not None
    assert (found.parsers, found.limit) == (2, PublishingLimit.CUTTING)


def test_what_failed_before_it_told_what_it_read_is_judged_by_its_waits_alone() -> None:
    failed = published(read=0, parsed=0)

    computed = advise_publishing([failed], keeps_up=True)
    waited = advise_publishing([replace(failed, waited={Awaited.BROKER: 40.0}, cpu_seconds=19.0)], keeps_up=True)

    assert computed is not None
    assert waited is not None
    assert (computed.limit, computed.change, waited.limit) == (None, "", PublishingLimit.CONFIRMS)
    assert "ended before it could tell" in computed.sentence


def test_a_report_of_a_check_is_refused_for_it_published_nothing(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(json.dumps(to_json(ExtractorReport("20260901", [published()], 60.0, checked_only=True))))

    with pytest.raises(StartRefused, match="is a report of `extractor --check`, which publishes nothing"):
        read_published(file)


def test_that_the_extractor_has_published_nothing_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, window = tmp_path / "report.json", Window(run_of((15, WELL)), BEGAN, "made up")
    monkeypatch.setattr(command, "_window", lambda _: window)
    file.write_text(json.dumps(to_json(ExtractorReport("20260901", [published(published=0)], 60.0))))

    code = main(["advise", "--extractor", str(file), "--json"])

    said = capsys.readouterr()
    assert (code, "publishing" in json.loads(said.out)) == (0, False)
    assert said.err == f"{file}: nothing was published, or its process was killed: not judged.\n"


def test_what_the_extractor_has_reported_is_judged_and_shown(tmp_path: Path) -> None:
    file, screen = tmp_path / "report.json", StringIO()
    file.write_text(json.dumps(to_json(ExtractorReport("20260901", [published()], 60.0))))
    window = Window(run_of((15, WELL)), BEGAN, "made up", published=read_published(file))
    found = judged(window)

    show(found, report_of(window, found), Console(file=screen, width=200))

    said = screen.getvalue()
    assert "publishing releases, 60 s, 1,000 messages/s: for 97% of the time its process waited for nothing" in said
    assert "change      EXTRACTOR_PARSERS=2" in said
    file.write_text('{"kinds": {"releases": {"published": 1}}}')
    with pytest.raises(StartRefused, match="is no report of this version's extractor"):
        read_published(file)


def test_a_window_of_which_no_extractor_has_reported_says_nothing_of_publishing() -> None:
    window = Window(run_of((15, WELL)), BEGAN, "made up")

    assert "publishing" not in report_of(window, judged(window))
