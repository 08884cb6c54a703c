"""The bench's command lines."""

import json
from pathlib import Path

import pytest

from bench import compare
from bench.report import report, write
from bench.settings import GROUPS, parse
from tests.tooling.test_bench_figures import result


def written(path: Path, *rates: float) -> str:
    """A result in which ours had these rates, one a round, beside a constant other."""
    results = [
        result(arm, number, rate)
        for number, ours in enumerate(rates)
        for arm, rate in (("tables_fast", ours), ("psql_text", 1.0))
    ]
    write(path, report(results, begun="", settings={}, versions={}))
    return str(path)


def test_without_options_everything_is_measured() -> None:
    settings = parse([])

    assert settings.groups == GROUPS
    assert (settings.rounds, settings.records, settings.graph_records, settings.quick) == (5, 40_000, 20_000, False)
    assert {group: settings.rounds_of(group) for group in ("tables", "graph", "whole")} == {
        "tables": 5,
        "graph": 3,
        "whole": 1,
    }


def test_a_quick_run_is_smaller_and_options_go_before_its_size() -> None:
    assert (parse(["--quick"]).rounds, parse(["--quick"]).records) == (2, 10_000)
    assert parse(["--quick", "--rounds", "1", "--only", "source"]).rounds_of("source") == 1
    assert parse(["--only", "source", "--only", "tables"]).groups == ("tables", "source")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rounds", "0"],
        ["--records", "5001"],
        ["--records", "many"],
        ["--only", "x"],
        ["--docs", "--only", "tables"],
        ["--json", "tests"],
        ["--json", "README.md/result.json"],
    ],
)
def test_what_can_not_be_measured_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)

    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert arguments[0] in said
    assert "invalid _" not in said  # argparse's, with the name of a function


def test_a_regression_is_shown_and_ends_the_comparison_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = written(tmp_path / "old", 2.0, 2.1, 1.9), written(tmp_path / "new", 1.0, 1.1, 0.9)

    assert compare.main([old, new]) == 1
    assert "worse" in capsys.readouterr().out
    assert compare.main([new, old]) == 0
    assert "better" in capsys.readouterr().out


def test_what_is_no_result_can_not_be_compared(tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("{}")

    assert compare.main([str(tmp_path / "broken"), str(tmp_path / "absent")]) == 2
    assert compare.main([]) == 2


def test_runs_of_another_size_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = written(tmp_path / "old", 2.0, 2.1, 1.9), written(tmp_path / "new", 2.0, 2.1, 1.9)
    smaller = json.loads((tmp_path / "new").read_text())
    smaller["settings"]["records"] = 10_000
    (tmp_path / "new").write_text(json.dumps(smaller))

    assert compare.main([old, new]) == 2
    assert "not comparable" in capsys.readouterr().err
