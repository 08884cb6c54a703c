"""The figures that a run is judged by: each from the raw results of its rounds, with what it must and should be. Pure.

A ratio is taken within each round, because the machine is the same only there; a figure is the median over rounds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import msgspec

from bench.rounds import Result

Round = Mapping[str, Result]
"""One round's results by arm, those that succeeded."""


class Figure(msgspec.Struct, frozen=True):
    """One line of the targets. `rounds` are the values that `value` is the median of; None if nothing was measured.

    `better`: whether more or less of it is better; that also says to which side `must` and `aim` are limits.
    """

    value: float | None
    min: float | None
    max: float | None
    must: float
    aim: float
    better: Literal["more", "less"]
    rounds: list[float]

    @property
    def verdict(self) -> str:
        """`aim`, `must` or `missed`; `not measured` if there is no value."""
        if self.value is None:
            return "not measured"
        return next((name for name, limit in (("aim", self.aim), ("must", self.must)) if self._is_met(limit)), "missed")

    def _is_met(self, limit: float) -> bool:
        assert self.value is not None
        return self.value >= limit if self.better == "more" else self.value <= limit


@dataclass(frozen=True, slots=True)
class Target:
    """How a figure is found, what it is called, and what it must and should be."""

    text: str
    of: Callable[[Round], float | None]
    must: float
    aim: float
    better: Literal["more", "less"] = "more"
    unit: str = ""

    def figure(self, rounds: Sequence[Round]) -> Figure:
        """The figure over these rounds."""
        values = [value for each in rounds if (value := self.of(each)) is not None]
        if not values:
            return Figure(None, None, None, self.must, self.aim, self.better, [])
        return Figure(median(values), min(values), max(values), self.must, self.aim, self.better, values)


def ratio(arm: str, other: str) -> Callable[[Round], float | None]:
    """The rate of one arm over that of another."""
    return lambda results: results[arm].rate / results[other].rate if {arm, other} <= results.keys() else None


def ratio_of(arm: str, other: str, name: str) -> Callable[[Round], float | None]:
    """The same of what both have measured themselves."""
    return lambda results: (
        results[arm].figures[name] / results[other].figures[name] if {arm, other} <= results.keys() else None
    )


def measured(arm: str, name: str, *, factor: float = 1.0) -> Callable[[Round], float | None]:
    """What an arm has measured itself."""
    return lambda results: results[arm].figures[name] * factor if arm in results else None


def cpu(arm: str, role: str) -> Callable[[Round], float | None]:
    """Microseconds of CPU time per record."""
    return lambda results: results[arm].cpu_us[role] if arm in results else None


def memory(arms: Mapping[str, Sequence[str]]) -> Callable[[Round], float | None]:
    """The most memory that any of these processes has had in a round, by arm and role; not every round has `whole`."""

    def most(results: Round) -> float | None:
        if not arms.keys() - {"whole"} <= results.keys():
            return None
        found = [results[arm].memory_mb.get(role, 0.0) for arm in arms if arm in results for role in arms[arm]]
        return max(found, default=None)

    return most


_SERVICES = {"tables_fast": ["consumer"], "graph_new": ["consumer"], "whole": ["tableinator", "graphinator"]}

TARGETS: Mapping[str, Target] = {
    "tables_new_over_psql_text": Target(
        "new releases end to end / psql text `\\copy` default", ratio("tables_fast", "psql_text"), 1.0, 1.4
    ),
    "tables_new_over_psql_binary": Target(
        "… / psql binary COPY lz4, one connection", ratio("tables_fast", "psql_binary"), 0.6, 0.8
    ),
    "tables_new_over_bento": Target("… / Bento's best", ratio("tables_fast", "tables_bento"), 2, 3.5),
    "tables_new_over_per_message": Target(
        "… / per-message consumer", ratio("tables_fast", "tables_per_message"), 12, 20
    ),
    "tables_unchanged_over_new": Target("unchanged replay / new", ratio("tables_unchanged", "tables_fast"), 1.8, 2.5),
    "tables_ledger_new": Target(
        "new releases with the ledger / without it (tables)", ratio("tables_fast", "tables_without_ledger"), 0.98, 1.0
    ),
    "tables_ledger_unchanged": Target(
        "unchanged replay, counted for the ledger / not (tables; it is written every 3 s)",
        ratio("tables_unchanged", "tables_unchanged_without_ledger"),
        0.98,
        1.0,
    ),
    "tables_cpu_us": Target(
        "our process, CPU per message (PostgreSQL path, new)", cpu("tables_fast", "consumer"), 35, 20, "less", "µs"
    ),
    "source_cpu_us": Target(
        "source alone: receive and settle, CPU per message", measured("source_fast", "cpu_us"), 15, 9, "less", "µs"
    ),
    "source_foreign_cpu_us": Target(
        "… of a foreign producer: headers that differ per message",
        measured("source_foreign_headers", "cpu_us"),
        15,
        7,
        "less",
        "µs",
    ),
    "graph_new_over_load_csv": Target(
        "graph: new releases with all edges / `LOAD CSV MERGE`", ratio("graph_new", "graph_load_csv"), 1.3, 1.8
    ),
    "graph_new_over_bento": Target(
        "graph: new releases with BY, ON, IS, DERIVED_FROM only / Bento with one UNWIND per 500",
        ratio("graph_new_few_edges", "graph_bento"),
        1.3,
        2,
    ),
    "graph_new_over_per_record": Target(
        "graph: … / per-record transactions", ratio("graph_new_few_edges", "graph_per_record"), 25, 60
    ),
    "graph_unchanged_over_new": Target("graph: unchanged replay / new", ratio("graph_unchanged", "graph_new"), 5, 10),
    "graph_ledger_new": Target(
        "graph: new with the ledger / without it", ratio("graph_new", "graph_without_ledger"), 0.98, 1.0
    ),
    "graph_ledger_unchanged": Target(
        "graph: unchanged replay, counted for the ledger / not",
        ratio("graph_unchanged", "graph_unchanged_without_ledger"),
        0.98,
        1.0,
    ),
    "tables_p99_ms_at_1000": Target(
        "latency p99 at 1,000/s, tables", measured("latency_tables_1000", "p99_ms"), 100, 40, "less", "ms"
    ),
    "service_rss_mb": Target("resident memory of a service at full load", memory(_SERVICES), 250, 150, "less", "MB"),
    "batch_fill": Target(
        "mean batch fill under backlog", measured("tables_fast", "batch_fill", factor=100), 90, 98, unit="%"
    ),
    "extractor_releases_per_s": Target(
        "extractor, releases per second of one process (XML to confirmed)", measured("extractor", "rate"), 2500, 5000
    ),
    "extractor_parsers": Target(
        "extractor with two parsers / one process (on four cores: the broker needs one)",
        ratio_of("extractor_parsers", "extractor", "rate"),
        1.6,
        2,
    ),
    "extractor_cutter_cpu": Target(
        "CPU of its process that cuts and publishes, with parsers / of the one process: the bound of what parsers gain",
        ratio_of("extractor_parsers", "extractor", "cpu_us"),
        0.6,
        0.4,
        "less",
    ),
    "extractor_manifest": Target(
        "extractor with a manifest / without it", ratio_of("extractor_manifest", "extractor", "rate"), 0.97, 1.0
    ),
    "extractor_delta": Target(
        "releases of a dump read, the next month by `--since` (5% changed) / the whole dump",
        ratio_of("extractor_delta", "extractor_manifest", "rate"),
        2,
        3,
    ),
}

ARMS = frozenset(
    {"psql_text", "psql_binary", "tables_fast", "tables_bento", "tables_per_message", "tables_unchanged"}
    | {"tables_without_ledger", "tables_unchanged_without_ledger"}
    | {"graph_without_ledger", "graph_unchanged_without_ledger"}
    | {
        "source_foreign_headers",
        "source_fast",
        "extractor",
        "extractor_parsers",
        "extractor_manifest",
        "extractor_delta",
        "latency_tables_1000",
    }
    | {"graph_new", "graph_load_csv", "graph_new_few_edges", "graph_bento", "graph_per_record", "graph_unchanged"}
)
"""The arms that figures are made of."""


def figures(results: Sequence[Result]) -> dict[str, Figure]:
    """Every target's figure; without a value where its arms were not run."""
    rounds: dict[int, dict[str, Result]] = {}
    for result in results:
        if not result.failure:
            rounds.setdefault(result.round, {})[result.arm] = result
    return {key: target.figure(list(rounds.values())) for key, target in TARGETS.items()}
