"""How a demo counts: over restarts, replicas and silences, and when it calls a load done."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from common.ops.scraping import Samples
from common.outcomes import Outcome
from devstack.demo.counters import Movement, Reading, Scrape, Series, read
from devstack.demo.watching import PATIENCE, QUIET_AFTER_RESTART, Watch

ARTISTS, LABELS = "artists", "labels"
GRAPH, TABLE = "graphinator", "tableinator"

TEXT = """\
# HELP spindle_records_total Records settled, by what became of them
# TYPE spindle_records_total counter
spindle_records_total{kind="artists",outcome="new",service="graphinator"} 5.0
spindle_records_total{kind="artists",outcome="dead_lettered",service="graphinator"} 1.0
# TYPE spindle_records_created gauge
spindle_records_created{kind="artists",outcome="new",service="graphinator"} 1.7953846963077292e+09
spindle_unacknowledged_deliveries{kind="artists",service="graphinator"} 3.0
spindle_broker_connected{kind="artists",service="graphinator"} 1.0
spindle_publish_to_commit_seconds_bucket{kind="artists",le="+Inf",service="graphinator"} NaN
spindle_build_info{service="graphinator",version="0.1.0"} 1.0
"""


def scrape(
    new: Mapping[tuple[str, str], int] = {}, *, began: float = 1.0, unsettled: int = 0, connected: bool = True
) -> Scrape:
    """What a process of every service and kind of `new` says."""
    return Scrape(
        {Series(*pair, "new"): Reading(count, began) for pair, count in new.items()},
        dict.fromkeys(new, unsettled),
        dict.fromkeys(new, connected),
    )


def test_metrics_are_read_as_the_services_write_them() -> None:
    found = read(Samples.parse(TEXT))

    assert found.counters == {
        Series(GRAPH, ARTISTS, "new"): Reading(5, 1.7953846963077292e09),
        Series(GRAPH, ARTISTS, "dead_lettered"): Reading(1, 0.0),
    }
    assert found.unsettled == {(GRAPH, ARTISTS): 3}
    assert found.connected == {(GRAPH, ARTISTS): True}
    assert not found.idle


def test_what_was_counted_before_the_beginning_does_not_count() -> None:
    movement = Movement({"a process": scrape({(GRAPH, ARTISTS): 100})})

    movement.observe("a process", scrape({(GRAPH, ARTISTS): 130, (GRAPH, LABELS): 7}))

    assert movement.settled(GRAPH, ARTISTS) == 30
    assert movement.settled(GRAPH, LABELS) == 7
    assert movement.outcomes(GRAPH, ARTISTS)[Outcome.NEW] == 30
    assert not movement.restarted


def test_a_counter_that_went_down_begins_again_at_0() -> None:
    movement = Movement({"a process": scrape({(GRAPH, ARTISTS): 100})})

    movement.observe("a process", scrape({(GRAPH, ARTISTS): 40}))

    assert movement.settled(GRAPH, ARTISTS) == 40
    assert movement.restarted == {GRAPH}


def test_a_restart_is_seen_although_the_new_process_has_counted_further() -> None:
    movement = Movement({"a process": scrape({(GRAPH, ARTISTS): 100}, began=1.0)})

    movement.observe("a process", scrape({(GRAPH, ARTISTS): 500}, began=2.0))

    assert movement.settled(GRAPH, ARTISTS) == 500
    assert movement.restarted == {GRAPH}


def test_a_restart_is_seen_before_the_new_process_has_counted_anything() -> None:
    movement = Movement({"a process": scrape({(GRAPH, ARTISTS): 100})})

    movement.observe("a process", Scrape())

    assert movement.restarted == {GRAPH}


def test_a_replica_that_appears_counts_from_0() -> None:
    movement = Movement({"one": scrape({(GRAPH, ARTISTS): 100})})

    movement.observe("two", scrape({(GRAPH, ARTISTS): 40}))

    assert movement.settled(GRAPH, ARTISTS) == 40
    assert not movement.restarted


@given(st.lists(st.lists(st.integers(0, 500)), min_size=1))
def test_whatever_is_seen_of_every_process_is_counted_once(lives: list[list[int]]) -> None:
    movement = Movement({"a process": Scrape()})

    for began, steps in enumerate(lives, 1):
        for position in range(len(steps)):
            counted = sum(steps[: position + 1])
            movement.observe("a process", scrape({(GRAPH, ARTISTS): counted}, began=float(began)))

    assert movement.settled(GRAPH, ARTISTS) == sum(map(sum, lives))


def watched(movement: Movement) -> Watch:
    return Watch(movement, services=[GRAPH, TABLE], kinds=(ARTISTS, LABELS), now=0.0)


def settle(movement: Movement, *, graph: int, table: int, began: float = 1.0, unsettled: int = 0) -> None:
    """Both services have settled so many records of each kind."""
    for service, count in ((GRAPH, graph), (TABLE, table)):
        counts = {(service, ARTISTS): count, (service, LABELS): count}
        movement.observe(service, scrape(counts, began=began, unsettled=unsettled))


def test_a_load_is_done_when_the_outcomes_of_every_kind_and_service_sum_to_the_published() -> None:
    movement = Movement({})
    watch = watched(movement)
    settle(movement, graph=10, table=10)

    watch.look(1.0)

    assert watch.is_done({ARTISTS: 10, LABELS: 10}, 1.0)
    assert not watch.is_done({ARTISTS: 10, LABELS: 11}, 1.0)


def test_services_at_rest_are_no_proof() -> None:
    movement = Movement({})
    watch = watched(movement)
    settle(movement, graph=10, table=9)
    watch.look(1.0)

    watch.look(1.0 + 10 * QUIET_AFTER_RESTART)

    assert not watch.is_done({ARTISTS: 10, LABELS: 10}, 1.0 + 10 * QUIET_AFTER_RESTART)
    assert list(watch.behind({ARTISTS: 10, LABELS: 10}, 101.0)) == [
        "tableinator has settled 9 of 10 artists",
        "tableinator has settled 9 of 10 labels",
    ]


def test_a_restarted_service_is_done_when_it_has_been_at_rest_for_a_while() -> None:
    movement = Movement({})
    watch = watched(movement)
    settle(movement, graph=5, table=10)
    watch.look(1.0)
    movement.observe(GRAPH, scrape({(GRAPH, ARTISTS): 3, (GRAPH, LABELS): 3}, began=2.0))
    watch.look(2.0)

    watch.look(2.0 + QUIET_AFTER_RESTART)

    assert not watch.is_done({ARTISTS: 10, LABELS: 10}, 1.9 + QUIET_AFTER_RESTART)
    assert watch.is_done({ARTISTS: 10, LABELS: 10}, 2.0 + QUIET_AFTER_RESTART)


def test_a_restarted_service_that_has_work_or_is_silent_is_not_done() -> None:
    movement = Movement({})
    watch = watched(movement)
    settle(movement, graph=5, table=10)
    counts = {(GRAPH, ARTISTS): 3, (GRAPH, LABELS): 3}
    movement.observe(GRAPH, scrape(counts, began=2.0, unsettled=1))
    watch.look(20.0)

    assert not watch.is_done({ARTISTS: 10, LABELS: 10}, 20.0)

    movement.observe(GRAPH, scrape(counts, began=2.0))
    movement.lose(GRAPH)
    watch.look(40.0)

    assert not watch.is_done({ARTISTS: 10, LABELS: 10}, 40.0)


def test_a_load_is_stuck_when_nothing_moves_anywhere() -> None:
    movement = Movement({})
    watch = watched(movement)
    settle(movement, graph=1, table=0)
    watch.look(10.0)

    watch.look(9.0 + PATIENCE)
    assert not watch.is_stuck(9.0 + PATIENCE)

    watch.keep_alive(9.0 + PATIENCE)
    assert not watch.is_stuck(10.0 + PATIENCE)

    assert watch.is_stuck(9.0 + 2 * PATIENCE)


def test_a_kinds_last_outcome_is_when_its_count_last_moved() -> None:
    movement = Movement({})
    watch = watched(movement)
    settle(movement, graph=1, table=0)
    watch.look(3.0)
    watch.look(4.0)

    assert watch.last_outcome(GRAPH, ARTISTS) == 3.0
