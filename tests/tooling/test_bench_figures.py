"""Figures from raw results, and what has become of them between two runs."""

import pytest

from bench.compare import Change, changes
from bench.figures import ARMS, TARGETS, Figure, figures, ratio
from bench.rounds import Result, order


def result(arm: str, number: int, rate: float = 1.0, failure: str = "") -> Result:
    """One arm in one round; everything that a figure may ask of it is there."""
    return Result(
        arm=arm,
        round=number,
        records=1000,
        seconds=1000 / rate if rate else 0.0,
        rate=rate,
        cpu_us={"consumer": 10.0},
        memory_mb={"consumer": 70.0},
        stolen=0.0,
        elsewhere=0.0,
        is_marked=False,
        figures={"cpu_us": 4.0, "p99_ms": 20.0, "batch_fill": 0.99, "rate": 5500.0},
        failure=failure,
    )


def figure(*rounds: float, better: str = "more") -> Figure:
    """A figure with these values; the first is its value."""
    return Figure(rounds[0], min(rounds), max(rounds), 1.0, 2.0, better, list(rounds))  # type: ignore[arg-type]


def test_the_figures_are_those_of_the_targets() -> None:
    assert list(figures([])) == [
        "tables_new_over_psql_text",
        "tables_new_over_psql_binary",
        "tables_new_over_bento",
        "tables_new_over_per_message",
        "tables_unchanged_over_new",
        "tables_ledger_new",
        "tables_ledger_unchanged",
        "tables_cpu_us",
        "source_cpu_us",
        "source_foreign_cpu_us",
        "graph_new_over_load_csv",
        "graph_new_over_bento",
        "graph_new_over_per_record",
        "graph_unchanged_over_new",
        "graph_ledger_new",
        "graph_ledger_unchanged",
        "tables_p99_ms_at_1000",
        "service_rss_mb",
        "batch_fill",
        "extractor_releases_per_s",
        "extractor_parsers",
        "extractor_cutter_cpu",
        "extractor_manifest",
        "extractor_delta",
    ]


def test_every_figure_can_be_had_from_the_arms_that_a_quick_run_keeps() -> None:
    found = figures([result(arm, 0) for arm in ARMS])

    assert [key for key, each in found.items() if each.value is None] == []


def test_a_figure_without_its_arms_is_not_measured() -> None:
    found = figures([result("psql_text", 0)])

    assert {each.verdict for each in found.values()} == {"not measured"}


def test_a_ratio_is_taken_within_each_round_and_its_figure_is_the_median() -> None:
    rates = [(10.0, 10.0), (8.0, 4.0), (1.0, 2.0)]  # ours, theirs: the last round was slow for both
    results = [
        result(arm, number, rate)
        for number, both in enumerate(rates)
        for arm, rate in zip(("tables_fast", "psql_text"), both, strict=True)
    ]

    found = figures(results)["tables_new_over_psql_text"]

    assert (found.value, found.min, found.max) == (1.0, 0.5, 2.0)


def test_a_run_that_failed_counts_in_no_figure() -> None:
    results = [result("tables_fast", 0, 8.0), result("psql_text", 0, 0.0, failure="the store is wrong")]

    assert figures(results)["tables_new_over_psql_text"].value is None
    assert ratio("a", "b")({"a": result("a", 0)}) is None


@pytest.mark.parametrize(("value", "verdict"), [(0.9, "missed"), (1.0, "must"), (2.0, "aim")])
def test_a_verdict_is_by_the_limits(value: float, verdict: str) -> None:
    assert figure(value).verdict == verdict


@pytest.mark.parametrize(("value", "verdict"), [(2.1, "aim"), (2.5, "aim"), (3.0, "must"), (3.1, "missed")])
def test_a_limit_of_what_should_be_little_is_an_upper_one(value: float, verdict: str) -> None:
    assert Figure(value, value, value, 3.0, 2.5, "less", [value]).verdict == verdict


def test_each_round_begins_with_another_arm_and_runs_every_one() -> None:
    orders = [list(order(4, number)) for number in range(4)]

    assert [each[0] for each in orders] == [0, 1, 2, 3]
    assert all(sorted(each) == [0, 1, 2, 3] for each in orders)


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        (figure(2.0, 1.9, 2.1), figure(1.5, 1.4, 1.6), Change.WORSE),
        (figure(1.5, 1.4, 1.6), figure(2.0, 1.9, 2.1), Change.BETTER),
        (figure(2.0, 1.9, 2.1, better="less"), figure(1.5, 1.4, 1.6, better="less"), Change.BETTER),
        (figure(2.0, 1.0, 3.0), figure(1.5, 1.4, 1.6), Change.SAME),  # the old rounds were as bad as that
        (figure(2.0, 1.9, 2.1), figure(1.5, 1.0, 2.2), Change.SAME),  # the new ones were as good as that
        (figure(2.0, 2.0, 2.0), figure(1.91, 1.91, 1.91), Change.SAME),  # too little to speak of
        (figure(2.0), figure(1.6), Change.SAME),  # one round says nothing of its noise
        (figure(2.0), figure(1.4), Change.WORSE),
        (Figure(None, None, None, 1.0, 2.0, "more", []), figure(1.0), Change.UNKNOWN),
    ],
)
def test_a_change_is_one_beyond_the_noise_of_both_runs(old: Figure, new: Figure, change: Change) -> None:
    assert changes({"key": old}, {"key": new}) == {"key": change}


def test_a_figure_that_only_one_run_has_is_named() -> None:
    assert changes({}, {key: figure(1.0) for key in TARGETS}) == dict.fromkeys(TARGETS, Change.UNKNOWN)
