"""`spindle verify` if there is nothing to compare with."""

import pytest

from spindle.cli import main


def test_a_store_that_is_not_there_is_no_disagreement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setenv("POSTGRES_PORT", "1")

    code = main(["verify", "--synthetic", "20", "--seed", "1"])

    said = capsys.readouterr().err
    assert code == 2
    assert "127.0.0.1:1" in said and "--stack-env" in said
    assert "Traceback" not in said
