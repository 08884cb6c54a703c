"""`spindle status`: from what processes and broker say to numbers, sentences and an exit code."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from common.errors import SettingsError
from common.kinds import KINDS, Names, Service
from common.loads import Pause
from common.ops.scraping import Samples
from common.settings.environment import load
from common.sink import BreakerState, StoreState
from common.telemetry.health import Health
from common.telemetry.metrics import REGISTRY
from spindle.settings import OperatorSettings
from spindle.status.assess import STILL, Verdict, judge
from spindle.status.broker import BrokerState, QueueState, Told, combined, our_queues
from spindle.status.collect import gone
from spindle.status.quantiles import WINDOW, Recent, latency_of, quantile
from spindle.status.render import as_data, as_screen, load_sentence
from spindle.status.replicas import Replica, missing, pauses
from spindle.status.snapshot import Picture, histograms, paint
from spindle.status.starting import refused_settings

NAMES = Names()
GRAPH, TABLE = Service.GRAPHINATOR, Service.TABLEINATOR
BOUNDS = (0.1, 0.5, 1.0, math.inf)

ADDRESS = "10.0.0.1:8002"


def said(service: Service, kinds: tuple[str, ...] = KINDS, **values: float) -> Samples:
    """What a healthy process says; `values` by the metric's name without `spindle_`, the same for every kind."""
    by_kind = {"broker_connected": 1.0, "records_per_second": 0.0, "unacknowledged_deliveries": 0.0} | values
    lines = [
        f'spindle_{name}{{service="{service}",kind="{kind}"}} {value}'
        for kind in kinds
        for name, value in by_kind.items()
    ]
    lines.append(f'spindle_store_breaker_open{{service="{service}",store="A store"}} {values.get("breaker", 0.0)}')
    return Samples.parse("\n".join(lines) + "\n")


def replica(service: Service = TABLE, address: str = ADDRESS, **values: float) -> Replica:
    """One that answers and is ready."""
    return Replica(service, address, said(service, KINDS, **values))


def broker(**lengths: QueueState) -> BrokerState:
    """One that has every queue, empty but for those named by kind (of tableinator)."""
    queues = dict.fromkeys(our_queues(NAMES, KINDS), QueueState(0, 0))
    queues |= {NAMES.queue(TABLE, kind): state for kind, state in lengths.items()}
    return BrokerState("here:5672", ("amqp",), queues=queues)


def picture(*replicas: Replica, of: BrokerState | None = None, services: tuple[Service, ...] = (TABLE,)) -> Picture:
    """A picture of one service, unless others are named."""
    found = list(replicas)
    return paint(found, of or broker(), services=services, kinds=KINDS, names=NAMES, latencies=histograms(found))


def on_screen(painted: Picture, *, width: int = 140, height: int | None = None) -> str:
    """What a person sees."""
    shown = StringIO()
    Console(width=width, file=shown).print(as_screen(painted, *judged(painted), width=width, height=height))
    return shown.getvalue()


def judged(painted: Picture) -> tuple[Verdict, list[str]]:
    return judge(painted, NAMES)


def test_nothing_wrong_is_healthy() -> None:
    assert judged(picture(replica())) == (Verdict.HEALTHY, [])


def test_replicas_are_summed() -> None:
    first, second = (
        replica(address=f"10.0.0.{n}:8002", records_per_second=100, unacknowledged_deliveries=250) for n in (1, 2)
    )

    state = picture(first, second, of=broker(artists=QueueState(1500))).services[0].kinds[0]

    assert (state.kind, state.replicas, state.rate, state.in_flight) == ("artists", 2, 200.0, 500)
    assert (state.ready, state.unacknowledged, state.backlog, state.eta) == (1500, 500, 2000, 10.0)


def test_what_a_silent_replica_holds_is_counted_by_the_broker() -> None:
    silent = Replica(TABLE, "10.0.0.2:8002", trouble=("does not answer",))

    painted = picture(replica(unacknowledged_deliveries=10), silent, of=broker(artists=QueueState(0, 1010)))

    assert painted.services[0].kinds[0].unacknowledged == 1010


def test_a_replica_that_does_not_answer_degrades_and_is_named() -> None:
    silent = Replica(TABLE, "10.0.0.2:8002", trouble=("does not answer: timed out",))

    assert judged(picture(replica(), silent)) == (
        Verdict.DEGRADED,
        ["tableinator at 10.0.0.2:8002: does not answer: timed out"],
    )


@pytest.mark.parametrize(
    "painted",
    [
        picture(Replica(TABLE, "tableinator:8002", trouble=("the name is not known",))),
        picture(),
        picture(replica(), of=BrokerState("here:5672", trouble="no answer in time")),
        picture(replica(), services=(GRAPH, TABLE)),
    ],
    ids=["no replica answers", "no replica", "no broker", "another service without replicas"],
)
def test_what_can_not_be_asked_is_unreachable(painted: Picture) -> None:
    verdict, wrong = judged(painted)

    assert verdict is Verdict.UNREACHABLE
    assert wrong


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"refusing_everything": 1.0}, "everything is refused"),
        ({"handed_back": 1.0}, "back with RabbitMQ"),
        ({"suspects": 3.0}, "await the evidence"),
    ],
)
def test_what_holds_a_kind_up_is_said(values: dict[str, float], sentence: str) -> None:
    verdict, wrong = judged(picture(replica(TABLE, ADDRESS, **values)))

    assert verdict is Verdict.DEGRADED
    assert len(wrong) == len(KINDS)
    assert all(sentence in each for each in wrong)


def test_waiting_records_of_a_service_that_settles_nothing_degrade() -> None:
    still = replica(oldest_unacknowledged_seconds=STILL + 1)

    verdict, wrong = judged(picture(still, of=broker(artists=QueueState(7))))

    assert verdict is Verdict.DEGRADED
    assert wrong == ["tableinator, artists: 7 records wait, and none has been settled for 31 s"]


@pytest.mark.parametrize(("service", "verdict"), [(GRAPH, Verdict.HEALTHY), (TABLE, Verdict.DEGRADED)])
def test_a_kind_that_waits_for_its_turn_is_no_standstill(service: Service, verdict: Verdict) -> None:
    """In graphinator kinds take turns; in tableinator each has writers of its own."""
    labels_move = Samples.parse(
        "\n".join(
            f'{name}{{service="{service}",kind="{kind}"}} {value}'
            for kind in KINDS
            for name, value in (
                ("spindle_broker_connected", 1),
                ("spindle_oldest_unacknowledged_seconds", STILL + 1),
                ("spindle_records_per_second", 50 if kind == "labels" else 0),
            )
        )
        + "\n"
    )

    waiting = replace(broker(), queues={**broker().queues, NAMES.queue(service, "artists"): QueueState(7)})
    painted = picture(Replica(service, "10.0.0.1:8002", labels_move), of=waiting, services=(service,))

    assert judged(painted)[0] is verdict


def test_a_kind_that_nobody_works_on_degrades() -> None:
    only_artists = Replica(TABLE, "10.0.0.1:8002", said(TABLE, ("artists",)))

    verdict, wrong = judged(picture(only_artists))

    assert verdict is Verdict.DEGRADED
    assert wrong == [f"tableinator, {kind}: no replica works on it" for kind in KINDS if kind != "artists"]


def test_dead_letters_and_missing_queues_degrade_by_name() -> None:
    state = broker()
    queues: dict[str, QueueState] = {**state.queues, NAMES.dead_letter_queue(TABLE, "labels"): QueueState(3, 0)}
    del queues[NAMES.queue(TABLE, "masters")]

    verdict, wrong = judged(picture(replica(), of=replace(state, queues=queues)))

    assert verdict is Verdict.DEGRADED
    assert wrong == [
        "tableinator, masters: the queue discogsography-discogs-tableinator-masters does not exist",
        "tableinator, labels: 3 dead letters wait in discogsography-discogs-tableinator-labels.dlq",
    ]


def test_dead_letters_of_several_kinds_take_one_line_and_come_after_a_replica_that_is_gone() -> None:
    letters = {NAMES.dead_letter_queue(TABLE, kind): QueueState(1_500, 0) for kind in ("artists", "labels")}
    gone_one = Replica(TABLE, "10.0.0.2:8002", trouble=("does not answer",))
    state = broker()

    _, wrong = judged(picture(replica(), gone_one, of=replace(state, queues={**state.queues, **letters})))

    assert wrong == [
        "tableinator at 10.0.0.2:8002: does not answer",
        "tableinator: 3,000 dead letters wait (artists 1,500, labels 1,500)",
    ]


def test_an_alarm_of_the_broker_degrades() -> None:
    verdict, wrong = judged(picture(replica(), of=replace(broker(), alarms=("disk",))))

    assert (verdict, wrong) == (Verdict.DEGRADED, ["RabbitMQ lacks disk and takes no messages: see the runbook"])


def test_lengths_are_those_of_this_moment_and_the_rest_is_managements() -> None:
    amqp = Told({"a": QueueState(7), "new": QueueState(1)})
    management = Told({"a": QueueState(500, 20)}, ("memory",))

    state = combined("here:5672", amqp=amqp, management=management)

    assert state.queues == {"a": QueueState(7, 20), "new": QueueState(1)}
    assert (state.alarms, state.asked_by) == (("memory",), ("amqp", "management"))


def test_either_way_to_the_broker_will_do() -> None:
    told, not_told = Told({"a": QueueState(7, 1)}), Told(trouble="no answer")

    by_management = combined("here:5672", amqp=not_told, management=told)
    by_amqp = combined("here:5672", amqp=told, management=not_told)
    by_none = combined("here:5672", amqp=not_told, management=not_told)

    assert by_management.queues == by_amqp.queues == {"a": QueueState(7, 1)}
    assert (by_management.asked_by, by_amqp.asked_by) == (("management",), ("amqp",))
    assert not by_none.is_reachable


def test_a_quantile_lies_evenly_within_its_bucket() -> None:
    buckets = dict(zip(BOUNDS, (0, 10, 20, 20), strict=True))

    assert quantile(0.5, buckets) == 0.5
    assert quantile(0.25, buckets) == pytest.approx(0.3)
    assert quantile(0.75, buckets) == pytest.approx(0.75)


def test_beyond_the_last_bound_nothing_more_is_known() -> None:
    assert quantile(0.99, dict(zip(BOUNDS, (0, 0, 0, 5), strict=True))) == 1.0


def test_without_observations_there_is_no_latency() -> None:
    assert latency_of({}) is None
    assert latency_of(dict.fromkeys(BOUNDS, 0.0)) is None


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any))
def test_quantiles_rise(counts: list[int]) -> None:
    buckets = {bound: float(sum(counts[: place + 1])) for place, bound in enumerate(BOUNDS)}

    latency = latency_of(buckets)

    assert latency is not None
    assert 0 <= latency.p50 <= latency.p95 <= latency.p99 <= 1.0


def test_a_watch_looks_back_a_minute_and_no_further() -> None:
    recent = Recent()
    looks = [(0.0, 10.0), (WINDOW, 15.0), (WINDOW + 30, 40.0)]

    seen = [recent.observe(at, {"a": {1.0: count}})["a"][1.0] for at, count in looks]

    assert seen == [10.0, 5.0, 25.0]


def test_a_watch_that_looks_seldom_looks_back_to_its_last_look() -> None:
    recent = Recent()
    looks = [(0.0, 10.0), (2 * WINDOW, 15.0), (4 * WINDOW, 15.0)]

    seen = [(recent.observe(at, {"a": {1.0: count}})["a"][1.0], recent.window) for at, count in looks]

    assert seen == [(10.0, None), (5.0, 2 * WINDOW), (0.0, 2 * WINDOW)]


@pytest.mark.parametrize(
    ("rate", "window", "shown", "about"),
    [
        (100.0, None, True, "since the services began"),
        (0.0, None, False, "since the services began"),
        (0.0, 30.0, True, "in the last 30 s"),
    ],
)
def test_how_long_records_once_took_is_not_shown_as_how_long_they_take(
    rate: float, window: float | None, shown: bool, about: str
) -> None:
    found = [replica(records_per_second=rate)]
    buckets = {f"{found[0].address} {TABLE} artists": dict.fromkeys(BOUNDS, 10.0)}
    painted = paint(found, broker(), services=[TABLE], kinds=KINDS, names=NAMES, latencies=buckets, window=window)

    text = on_screen(painted)
    [artists] = [line for line in text.splitlines() if "artists" in line]

    assert (" ms" in artists) is shown
    assert about in text
    assert as_data(painted, *judged(painted))["latency_window_seconds"] == window


def test_who_waits_for_its_store_at_the_start_is_not_said_to_lack_the_broker() -> None:
    health = Health(
        str(TABLE),
        broker=lambda: dict.fromkeys(KINDS, False),
        store=lambda: StoreState("PostgreSQL", available=False, detail="not connected yet"),
    )
    waiting = Replica(
        TABLE,
        "10.0.0.1:8002",
        Samples(),
        tuple(missing(json.dumps(health.ready()).encode(), has_begun=False)),
    )
    painted = picture(waiting, of=BrokerState("here:5672", ("amqp",)))

    assert judged(painted) == (
        Verdict.DEGRADED,
        [
            "tableinator at 10.0.0.1:8002: waits for PostgreSQL (not connected yet), and takes nothing from RabbitMQ "
            "before"
        ],
    )
    assert "no store yet" in on_screen(painted)


def test_who_lacks_both_broker_and_store_later_is_said_to() -> None:
    health = Health(
        str(TABLE),
        broker=lambda: dict.fromkeys(KINDS, False),
        store=lambda: StoreState("PostgreSQL", available=False, detail="no answer"),
    )

    said = missing(json.dumps(health.ready()).encode(), has_begun=True)

    assert [sentence.split()[0] for sentence in said] == ["not", "PostgreSQL"]


def test_a_histogram_that_began_anew_counts_whole() -> None:
    recent = Recent()
    recent.observe(0.0, {"a": {1.0: 100.0}})

    assert recent.observe(1.0, {"a": {1.0: 3.0}}) == {"a": {1.0: 3.0}}


def test_every_metric_that_is_read_is_exported() -> None:
    read = set[str]()

    class Listening(Samples):
        def of(self, name: str, **labels: str) -> Any:
            read.add(name)
            return super().of(name, **labels)

    paint(
        [Replica(TABLE, "10.0.0.1:8002", Listening())],
        broker(),
        services=(TABLE,),
        kinds=KINDS,
        names=NAMES,
        latencies={},
    )
    histograms([Replica(TABLE, "10.0.0.1:8002", Listening())])
    exported = {family.name for family in REGISTRY.collect()}

    assert len(read) >= 10
    assert {name.removesuffix("_total").removesuffix("_count").removesuffix("_bucket") for name in read} <= exported


def with_breaker(state: str, *, failures: int = 0, next_trial: float = 0.0) -> Replica:
    """A replica that tells of its breaker."""
    of = 'service="tableinator",store="A store"'
    lines = [f'spindle_store_breaker_state{{{of},state="{each}"}} {each == state:d}' for each in BreakerState]
    lines += [f"spindle_store_breaker_open{{{of}}} {state != 'closed':d}"]
    lines += [f"spindle_store_breaker_failures{{{of}}} {failures}"]
    lines += [f"spindle_store_breaker_next_trial_seconds{{{of}}} {next_trial}"]
    return Replica(TABLE, ADDRESS, Samples.parse("\n".join(lines) + "\n"))


@pytest.mark.parametrize(
    ("replica", "shown", "told"),
    [
        (with_breaker("closed"), "A store ok", ("closed", 0, 0.0)),
        (
            with_breaker("open", failures=1200, next_trial=1.4),
            "A store unavailable (open, 1,200 failures, next trial in 1.4 s)",
            ("open", 1200, 1.4),
        ),
        (with_breaker("open", failures=1), "A store unavailable (open, 1 failure)", ("open", 1, 0.0)),
        (
            with_breaker("half-open", failures=3),
            "A store unavailable (half-open, 3 failures)",
            ("half-open", 3, 0.0),
        ),
        (with_breaker("open"), "A store unavailable", ("open", 0, 0.0)),
    ],
)
def test_what_a_replicas_breaker_does_is_shown_and_told(
    replica: Replica, shown: str, told: tuple[str, int, float]
) -> None:
    painted = picture(replica)

    [line] = [line for line in on_screen(painted).splitlines() if ADDRESS in line]
    [data] = as_data(painted, *judged(painted))["services"]["tableinator"]["replicas"]
    assert line.endswith(shown)
    assert tuple(data["breaker"].values()) == told


def test_a_replica_of_a_version_without_states_is_shown_by_whether_its_breaker_is_open() -> None:
    painted = picture(replica(breaker=1.0))

    [data] = as_data(painted, *judged(painted))["services"]["tableinator"]["replicas"]
    assert "A store unavailable" in on_screen(painted)
    assert data["breaker"] is None


def test_what_is_shown_and_what_a_program_gets_agree() -> None:
    painted = picture(replica(records_per_second=100), of=broker(artists=QueueState(7100)))

    data = as_data(painted, *judged(painted))
    [artists] = [line for line in on_screen(painted).splitlines() if "artists" in line]

    assert data["verdict"] == "healthy"
    assert data["services"]["tableinator"]["kinds"]["artists"]["eta_seconds"] == 71.0
    assert artists.split()[2:8] == ["100", "7,100", "0", "1", "min", "11"]


def settings(**variables: str) -> OperatorSettings:
    return load(OperatorSettings, variables)


def test_places_and_the_management_api_are_where_the_compose_file_has_them() -> None:
    found = settings(RABBITMQ_HOST="rabbitmq")

    assert found.places == {GRAPH: ("graphinator:8001",), TABLE: ("tableinator:8002",)}
    assert found.rabbitmq_management_url == "http://rabbitmq:15672"


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"RABBITMQ_URL": "amqps://u:p@there/"}, ""),
        ({"RABBITMQ_URL": "amqp://u:p@one:5672,two:5672/"}, ""),
        ({"RABBITMQ_URL": "amqp://u:p@[::1]:5672/v"}, "http://[::1]:15672"),
        ({"RABBITMQ_MANAGEMENT_URL": "none"}, ""),
        ({"RABBITMQ_MANAGEMENT_URL": "https://there/path/"}, "https://there/path"),
    ],
)
def test_a_password_goes_only_where_it_is_protected_as_before(variables: Mapping[str, str], url: str) -> None:
    assert settings(**variables).rabbitmq_management_url == url


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STATUS_GRAPHINATOR", "graphinator"),
        ("STATUS_TABLEINATOR", "http://tableinator:8002"),
        ("RABBITMQ_MANAGEMENT_URL", "there:15672"),
        ("RABBITMQ_MANAGEMENT_URL", "http://me:secret@there:15672"),
    ],
)
def test_a_wrong_place_is_refused_with_a_sentence(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable) as caught:
        settings(**{variable: value})

    assert "secret" not in str(caught.value)


def night(kinds_with_letters: int = 4) -> Picture:
    """Both services in trouble, with large numbers: what somebody sees who was called."""
    large: dict[str, float] = {"records_per_second": 12_345.0, "unacknowledged_deliveries": 2_000.0, "breaker": 1.0}
    replicas = [
        replace(replica(service, f"172.18.0.{number}:8001", **large), trouble=("PostgreSQL is held to be unavailable",))
        for service, number in ((GRAPH, 101), (TABLE, 102), (TABLE, 103))
    ]
    queues = {NAMES.queue(service, kind): QueueState(15_300_000, 2_000) for service in Service for kind in KINDS}
    letters = {NAMES.dead_letter_queue(TABLE, kind): QueueState(1_234) for kind in KINDS[:kinds_with_letters]}
    state = BrokerState("rabbitmq:5672", ("amqp",), queues=queues | letters, alarms=("memory",))
    return picture(*replicas, of=state, services=(GRAPH, TABLE))


@pytest.mark.parametrize("height", [24, 50])
def test_a_screen_of_80_columns_cuts_nothing_and_what_is_wrong_stands_above(height: int) -> None:
    shown = on_screen(night(), width=80, height=height)

    lines = shown.splitlines()
    assert "…" not in shown
    assert len(lines) <= height, "rich would cut the end"
    assert lines[1].startswith("- RabbitMQ lacks memory")
    assert shown.count("tableinator ") >= len(KINDS)
    for text in (*KINDS, "12,345", "15.3 M", "1,234", "172.18.0.103:8001"):
        assert text in shown, text


@given(lengths=st.lists(st.integers(1, 200), min_size=1, max_size=20), word=st.integers(1, 30))
def test_whatever_is_wrong_the_screen_holds_it(lengths: list[int], word: int) -> None:
    wrong = [" ".join(["x" * word] * (length // (word + 1) + 1)) for length in lengths]
    shown = StringIO()
    Console(width=80, file=shown).print(as_screen(picture(replica()), Verdict.DEGRADED, wrong, width=80, height=24))

    assert len(shown.getvalue().splitlines()) <= 24


def test_how_much_of_what_is_wrong_did_not_fit_is_said() -> None:
    shown = on_screen(night(), width=80, height=20)
    _, wrong = judged(night())

    said = [line for line in shown.splitlines() if line.startswith("- ")]
    assert said[-1] == f"- and {len(wrong) - len(said) + 1} more, which spindle status --json lists"


def test_no_two_columns_have_one_name() -> None:
    [heading] = [line for line in on_screen(picture(replica())).splitlines() if line.startswith("service")]

    assert "ready" not in heading
    assert "waiting" in heading


def test_a_watch_misses_a_replica_that_is_gone_until_another_is_in_its_place() -> None:
    first, second, third = (replica(address=f"10.0.0.{number}:8002") for number in (1, 2, 3))
    answered: set[str] = set()
    assert gone(TABLE, [first, second], answered) == []

    [missed] = gone(TABLE, [first], answered)
    again = gone(TABLE, [first], answered)

    assert (missed.address, missed.answers) == ("10.0.0.2:8002", False)
    assert again == [missed]
    assert judged(picture(first, missed))[1] == ["tableinator at 10.0.0.2:8002: answered before, and is gone"]
    assert gone(TABLE, [first, third], answered) == []
    assert gone(TABLE, [first, third], answered) == []


def test_why_a_service_does_not_start_is_said_where_nobody_of_it_answers() -> None:
    environ = {"POSTGRES_BATCH_SIZE": "many"}
    silent = Replica(TABLE, "tableinator:8002", trouble=("the name is not known",))

    [sentence] = refused_settings(picture(silent), environ)

    assert sentence.startswith("tableinator does not start with this: POSTGRES_BATCH_SIZE is 'many'")
    assert list(refused_settings(picture(replica()), environ)) == []


# Loads and pauses.


def test_a_paused_kind_is_named_with_who_when_and_why_and_is_no_standstill() -> None:
    health = Health(
        "tableinator", broker=lambda: {"artists": True}, store=lambda: STORE, paused=lambda: {"artists": PAUSE}
    )
    ready = health.ready()
    paused = replace(
        replica(paused=1, broker_connected=0), trouble=tuple(missing(json.dumps(ready).encode(), has_begun=True))
    )
    paused = replace(paused, paused=pauses(json.dumps(ready).encode()))

    verdict, wrong = judged(picture(paused, of=broker(artists=QueueState(1500))))

    assert (ready["status"], paused.trouble) == ("ok", ())
    assert verdict is Verdict.DEGRADED
    assert wrong[0] == "tableinator, artists: paused by me since 2026-03-01 08:05 UTC: a backup"


def test_what_the_ledger_says_of_the_newest_load_is_shown_over_all_kinds() -> None:
    said_of = {"load": 20260301, "load_announced_timestamp_seconds": 1.0, "load_checked_timestamp_seconds": 1000.0}
    lines = [
        f'spindle_load_records{{service="{TABLE}",kind="{kind}",outcome="{outcome}"}} {value}'
        for kind in KINDS
        for outcome, value in (("new", 1000), ("changed", 20), ("unchanged", 3))
    ]
    by_kind = "\n".join(
        [*lines, *(_line(name, value) for name, value in {**said_of, "load_missing_records": 2}.items())]
    )
    told = replica()
    assert told.samples is not None
    painted = picture(replace(told, samples=Samples.parse(f"{by_kind}\n")))

    sentence = load_sentence(painted.services[0], now=1000.0 + 3 * 3600)

    assert sentence == (
        "tableinator: load 20260301 incomplete 4 of 4, 4,000 new, 80 changed, 12 unchanged, 8 missing, "
        "checked 180 min ago"
    )
    shown = as_data(painted, *judged(painted))["services"]["tableinator"]["kinds"]["artists"]["load"]
    assert (shown["load"], shown["state"], shown["missing"]) == ("20260301", "incomplete", 2)


def test_nothing_is_said_of_loads_where_no_ledger_knows_any() -> None:
    assert load_sentence(picture(replica(load=0)).services[0], now=0.0) == ""


STORE = StoreState("PostgreSQL", available=True)
PAUSE = Pause(kind="artists", since=datetime(2026, 3, 1, 8, 5, tzinfo=UTC), by="me", reason="a backup")


def _line(name: str, value: float) -> str:
    return "\n".join(f'spindle_{name}{{service="{TABLE}",kind="{kind}"}} {value}' for kind in KINDS)
