"""`python -m devstack` itself: what it says of wrong arguments, and what it leaves alone."""

from pathlib import Path

import pytest

from devstack.__main__ import main


def test_a_wrong_stack_names_the_allowed_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STACK", "nonsense")

    with pytest.raises(SystemExit) as end:
        main(["demo"])

    said = capsys.readouterr().err
    assert end.value.code == 2
    assert "auto, compose, native" in said and "$STACK" in said and "Wish" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--stack", "nonsense"],
        ["--synthetic", "none"],
        ["--dumps", "no-such-folder"],
        ["--report", "build/demo.json", "--x"],
    ],
    ids=["a wrong stack", "a wrong number", "a folder that is not there", "an unknown option"],
)
def test_a_demo_that_can_not_begin_leaves_no_earlier_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "build/demo.json"
    report.parent.mkdir()
    report.write_text("of an earlier run")

    try:
        code = main(["demo", *arguments])
    except SystemExit as end:
        code = int(end.code or 0)

    assert code == 2
    assert not report.exists()


def test_help_leaves_the_report_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "report.json"
    report.write_text("of an earlier run")

    with pytest.raises(SystemExit):
        main(["demo", "--report", str(report), "--help"])

    assert report.exists()


def test_erasing_what_does_not_run_says_that_it_was_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "stack"
    home.mkdir()

    first = main(["down", "--erase", "--home", str(home)])
    said = capsys.readouterr().err
    second = main(["down", "--erase", "--home", str(home)])

    assert (first, second) == (0, 0)
    assert f"removed {home}" in said and not home.exists()
    assert f"there is no data in {home}" in capsys.readouterr().err
