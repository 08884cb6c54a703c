"""What a result looks like: its table and charts in the document."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.charts import Bar, chart
from bench.document import DOCUMENT, replaced, rewrite
from bench.figures import ARMS
from bench.report import Report, read, report, write
from tests.tooling.test_bench_figures import result


@pytest.fixture
def found() -> Report:
    latencies = {"p50_ms": 10.0, "p95_ms": 15.0, "p99_ms": 20.0}
    results = [result(arm, number, 100.0 + number) for number in range(3) for arm in sorted(ARMS)]
    for each in results:
        each.figures.update(latencies if each.arm.startswith("latency") else {})
    return report(results, begun="2026-03-01T12:00:00+00:00", settings={"rounds": 3}, versions={"postgres": "15"})


def test_a_result_is_read_as_it_was_written(found: Report, tmp_path: Path) -> None:
    write(tmp_path / "build" / "bench.json", found)

    assert read(tmp_path / "build" / "bench.json") == found


def test_the_document_takes_a_result_and_keeps_its_prose(found: Report, tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(DOCUMENT.read_text())

    rewrite(found, document)
    rewrite(found, document)

    text = document.read_text()
    assert text.count("`tables_new_over_psql_text`") == 1
    assert "| `psql_text` | **101** | 100 to 102 |" in text
    assert text.splitlines()[0] == DOCUMENT.read_text().splitlines()[0]
    assert {path.name for path in (tmp_path / "charts").iterdir()} >= {"tables.svg", "graph.svg", "latency.svg"}


def test_a_document_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the markers <!-- figures -->"):
        replaced("nothing", "figures", "")


def test_every_chart_that_the_document_shows_is_one_that_the_bench_draws(found: Report, tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(DOCUMENT.read_text())

    rewrite(found, document)

    drawn = {f"charts/{path.name}" for path in (tmp_path / "charts").iterdir()}
    shown = {part.partition(")")[0] for part in DOCUMENT.read_text().split("](")[1:]}
    assert {each for each in shown if each.endswith(".svg")} == drawn


def test_a_bar_is_as_long_as_its_value() -> None:
    drawn = ElementTree.fromstring(
        chart("a < b", [Bar("one & only", 50, 25, 100, True), Bar("other", 100, 90, 100, False)])
    )

    first, second = (float(each.attrib["width"]) for each in drawn.iter("{http://www.w3.org/2000/svg}rect"))
    assert second == pytest.approx(2 * first, abs=0.2)
    assert [each.attrib["class"] for each in drawn.iter("{http://www.w3.org/2000/svg}rect")] == ["ours", "other"]
