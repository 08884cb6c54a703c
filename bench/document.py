"""Put a result into docs/performance.md, between its markers, and its charts beside it."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from rich.table import Table

from bench.charts import Bar, chart, shown
from bench.figures import TARGETS, Figure
from bench.report import Report
from bench.rounds import Result

DOCUMENT = Path(__file__).parents[1] / "docs/performance.md"
_OTHERS = ("psql", "per_message", "bento", "load_csv", "per_record", "unwind")
"""What the name of an arm that is not ours contains."""
_SERVERS = ("broker", "postgres", "neo4j")


def rewrite(report: Report, document: Path = DOCUMENT) -> None:
    """Replace tables and charts."""
    text = document.read_text()
    for name, make in _PARTS.items():
        text = replaced(text, name, make(report))
    document.write_text(text)
    folder = document.parent / "charts"
    folder.mkdir(exist_ok=True)
    for name, (title, bars) in charts(report.results).items():
        if bars:
            (folder / f"{name}.svg").write_text(chart(title, bars))


def replaced(text: str, name: str, content: str) -> str:
    """Put something between the two markers of this name. Raises: ValueError if there are none."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if begin not in text or end not in text:
        raise ValueError(f"the document lacks the markers {begin} and {end}")
    return re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{content}\n{end}", text, flags=re.DOTALL)


def table_of(figures: Mapping[str, Figure]) -> Table:
    """The figures for a terminal."""
    table = Table()
    for heading in ("figure", "value", "rounds", "must", "aim", ""):
        table.add_column(heading, no_wrap=True)
    for key, figure in figures.items():
        value = "–" if figure.value is None else shown(figure.value)
        table.add_row(
            key, value, _range(figure), *(_limit(figure, each) for each in (figure.must, figure.aim)), figure.verdict
        )
    return table


def charts(results: Sequence[Result]) -> dict[str, tuple[str, list[Bar]]]:
    """Every chart by its file's name: title and bars."""

    def rates(prefixes: tuple[str, ...]) -> list[Bar]:
        return _bars(results, lambda each: each.rate if each.arm.startswith(prefixes) else None)

    return {
        "tables": ("Releases per second into PostgreSQL", rates(("psql_", "tables_"))),
        "graph": ("Releases per second into Neo4j", rates(("graph_",))),
        "source": ("Messages per second, received and settled", rates(("source_",))),
        "latency": (
            "Publish to commit, p99 in milliseconds",
            _bars(results, lambda each: each.figures.get("p99_ms")),
        ),
        "cpu": (
            "CPU of the consumer alone, microseconds per record",
            _bars(results, lambda each: _consumers(each) if each.arm.startswith("tables_") else None),
        ),
    }


def _bars(results: Sequence[Result], of: Callable[[Result], float | None]) -> list[Bar]:
    values: dict[str, list[float]] = {}
    for result in results:
        if not result.failure and (value := of(result)):
            values.setdefault(result.arm, []).append(value)
    return [
        Bar(arm.replace("_", " "), median(each), min(each), max(each), not any(other in arm for other in _OTHERS))
        for arm, each in values.items()
    ]


def _figures(report: Report) -> str:
    lines = ["| figure | key | measured | rounds | must | aim | |", "|---|---|---|---|---|---|---|"]
    for key, figure in report.figures.items():
        target = TARGETS[key]
        value = "–" if figure.value is None else f"**{shown(figure.value)}** {target.unit}".strip()
        limits = " | ".join(_limit(figure, each, target.unit) for each in (figure.must, figure.aim))
        lines.append(f"| {target.text} | `{key}` | {value} | {_range(figure)} | {limits} | {figure.verdict} |")
    return "\n".join(lines)


def _arms(report: Report) -> str:
    lines = [
        "| arm | records/s | rounds | CPU µs per record: ours | broker | store | memory MB | marked |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm in dict.fromkeys(result.arm for result in report.results):
        runs = [result for result in report.results if result.arm == arm and not result.failure]
        if runs:
            lines.append(f"| `{arm}` | {' | '.join(_cells(runs))} |")
    return "\n".join(lines)


def _cells(runs: Sequence[Result]) -> list[str]:
    rates = [run.rate for run in runs]
    stores = [run.cpu_us.get("postgres", 0.0) + run.cpu_us.get("neo4j", 0.0) for run in runs]
    own, broker = [_consumers(run) for run in runs], [run.cpu_us.get("broker", 0.0) for run in runs]
    memory = max((most for run in runs for most in run.memory_mb.values()), default=0.0)
    return [
        f"**{shown(median(rates))}**",
        f"{shown(min(rates))} to {shown(max(rates))}",
        *(shown(median(each)) if median(each) >= 0.05 else "–" for each in (own, broker, stores)),
        f"{memory:.0f}" if memory else "–",
        f"{sum(run.is_marked for run in runs)} of {len(runs)}",
    ]


def _latencies(report: Report) -> str:
    lines = ["| arm | p50 ms | p95 ms | p99 ms |", "|---|---|---|---|"]
    for arm in dict.fromkeys(result.arm for result in report.results if result.arm.startswith("latency_")):
        runs = [result.figures for result in report.results if result.arm == arm and not result.failure]
        if runs:
            cells = [shown(median(run[name] for run in runs)) for name in ("p50_ms", "p95_ms", "p99_ms")]
            lines.append(f"| `{arm}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _machine(report: Report) -> str:
    machine, versions = report.machine, report.versions
    known = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    settings = ", ".join(f"{name} {value}" for name, value in report.settings.items() if name != "groups")
    return (
        f"{report.begun}: {machine['cpus']} × {machine['cpu']}, {machine['memory_gb']} GB, Linux {machine['kernel']}.\n"
        f"{known}.\nSettings: {settings}."
    )


_PARTS: Mapping[str, Callable[[Report], str]] = {
    "machine": _machine,
    "figures": _figures,
    "arms": _arms,
    "latencies": _latencies,
}


def _consumers(result: Result) -> float:
    return sum(used for role, used in result.cpu_us.items() if role not in _SERVERS)


def _range(figure: Figure) -> str:
    if figure.min is None or figure.max is None:
        return "–"
    return f"{shown(figure.min)} to {shown(figure.max)}"


def _limit(figure: Figure, limit: float, unit: str = "") -> str:
    return f"{'≥' if figure.better == 'more' else '≤'} {limit:,g} {unit}".strip()
