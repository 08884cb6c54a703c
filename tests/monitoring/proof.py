"""What a Prometheus answers to every expression of ours, and whether it should."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product

from common.kinds import KINDS, Service
from monitoring.alerts import ALERTS
from tests.e2e.services import ROOT
from tests.monitoring import queries
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.queries import Found

REPORT = ROOT / "build" / "queries.json"

# What is empty in health, and why. That these work too is shown by the cases for promtool.
EMPTY = {
    "recorded: spindle:full_load:rate5m": "needs five minutes behind a backlog",
    "recorded: spindle:full_load:median30d": "needs an hour of those",
    "overview.json: More on how fast: Against its own median: A": "needs both",
    "value of SpindleThroughputRegression": "needs both",
    "overview.json: More on loads: Age of the last check: A": "nobody has checked",
    "overview.json: More on loads: Complete?: A": "nobody has checked",
    "overview.json: More on loads: Missing or different: A": "nobody has checked",
    "overview.json: More on what is wrong: Spans dropped: A": "TRACING is off",
    **{f"alert: {alert.name}": "nothing is wrong" for alert in ALERTS},
}
# On a slow machine these are true, and so they should be: nothing is expected of them.
OF_THE_MACHINE = {
    "alert: SpindleLatencyHigh",
    "alert: SpindleLoopLag",
    # Whether two writers have ever met, and whether just now anything is in hand.
    "overview.json: What is wrong?: Failed transactions, per second: A",
    "overview.json: More on what limits it: Time in transactions that failed: A",
    "overview.json: How fast, how far, how fresh, and what limits it?: Age of records: B",
    "recorded: spindle:standing_still:messages",
    # Whether a kind got one of the bad records.
    "pipeline.json: Trouble: Dead letters by reason: A",
}
# What is wrong in a load that holds records which can't be stored.
OF_BAD_RECORDS = {"alert: SpindleDeadLettersArriving", "alert: SpindleDeadLettersWaiting"}


@dataclass(frozen=True, slots=True)
class Answer:
    """How many series an expression returned, for each choice of the dashboard's variables."""

    place: str
    expression: str
    series: Mapping[str, int]
    empty_because: str | None

    @property
    def is_as_expected(self) -> bool:
        """Whether all choices have some series; or none, where that is expected."""
        if self.place in OF_THE_MACHINE:
            return True
        return all(bool(count) is (self.empty_because is None) for count in self.series.values())


def everything() -> Iterator[Found]:
    """All expressions, and the values that alerts compare: a quiet alert proves nothing where that is not there."""
    for each in (queries.panels(), queries.recordings(), queries.alerts()):
        yield from each
    yield from (Found(f"value of {alert.name}", alert.signal.value) for alert in ALERTS)


def ask(prometheus: Prometheus, *, bad_records: bool) -> list[Answer]:
    """Ask for everything now."""
    expected = {place: why for place, why in EMPTY.items() if not (bad_records and place in OF_BAD_RECORDS)}
    return [
        Answer(found.place, found.expression, _series(prometheus, found.expression), expected.get(found.place))
        for found in everything()
    ]


def unexpected(answers: Sequence[Answer]) -> list[Answer]:
    """Those that should have been others."""
    return [answer for answer in answers if not answer.is_as_expected]


def write(answers: Sequence[Answer]) -> None:
    """Write the report."""
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps([asdict(answer) for answer in answers], indent=1) + "\n")


def _series(prometheus: Prometheus, expression: str) -> dict[str, int]:
    has_choices = re.search(r"\$(service|kind)", expression) is not None
    counts = {}
    for service, kind in product(Service, KINDS) if has_choices else [("", "")]:
        values = {"service": service, "kind": kind, "__rate_interval": "1m"}
        answer = prometheus.query(queries.with_values(expression, values))
        numbers = [series for series in answer if not math.isnan(float(series["value"][1]))]
        counts[f"{service} {kind}" if has_choices else "all"] = len(numbers)
    return counts
