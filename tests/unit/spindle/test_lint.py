"""`spindle lint`: settings checked without any server."""

import json
from pathlib import Path

import pytest

from spindle.cli import main
from spindle.lint import schema


def test_every_wrong_value_of_a_file_is_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / ".env"
    file.write_text("POSTGRES_BATCH_SIZE=none\nNEO4J_WRITERS=0\nPOSTGRES_BATCHSIZE=5\n")

    code = main(["lint", "--env-file", str(file)])

    said = " ".join(capsys.readouterr().out.split())
    assert code == 2
    assert "POSTGRES_BATCH_SIZE is 'none'; allowed is a whole number" in said
    assert "NEO4J_WRITERS is '0'; allowed is a whole number" in said
    assert "POSTGRES_BATCHSIZE is not a setting" in said


def test_the_example_is_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    example = Path(__file__).parents[3] / ".env.example"

    assert main(["lint", "--env-file", str(example), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "ok"


def test_a_secret_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / ".env"
    file.write_text("RABBITMQ_URL=http://user:geheim@host\n")

    assert main(["lint", "--env-file", str(file)]) == 2
    assert "geheim" not in capsys.readouterr().out


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "--env-file", str(tmp_path / "none")]) == 2

    assert "allowed is a file of NAME=value lines" in capsys.readouterr().err


def test_the_last_of_several_files_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("POSTGRES_WRITERS=none\n")
    second.write_text("POSTGRES_WRITERS=3\n")

    assert main(["lint", "--env-file", str(first), "--env-file", str(second)]) == 0


def test_the_schema_has_every_variable_and_its_file() -> None:
    members = schema()["properties"]

    assert isinstance(members, dict)
    assert {"POSTGRES_BATCH_SIZE", "NEO4J_PASSWORD_FILE", "EXTRACTOR_REQUIRE", "KINDS"} <= set(members)
