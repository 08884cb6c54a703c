"""`spindle lint`: settings checked without any server."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types

from spindle.cli import main
from spindle.schema import schema


def test_every_wrong_value_of_a_file_is_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / ".env"
    file.write_text("POSTGRES_BATCH_SIZE=none\nNEO4J_WRITERS=0\nPOSTGRES_BATCHSIZE=5\n")

    code = main(["lint", "--env-file", str(file)])

    said = " ".join(capsys.readouterr().out.split())
    assert code == 2
    assert "POSTGRES_BATCH_SIZE is 'none'; allowed is a whole number" in said
    assert "NEO4J_WRITERS is '0'; allowed is a whole number" in said
    assert "POSTGRES_BATCHSIZE is not a setting" in said


def test_a_setting_of_the_operators_command_is_named_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / ".env"
    file.write_text("CHECK_RATE=much\nSTATUS_TABLEINATOR=nowhere\n")

    assert main(["lint", "--env-file", str(file)]) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "CHECK_RATE is 'much'; allowed is a whole number" in said
    assert "STATUS_TABLEINATOR is 'nowhere'; allowed is host:port" in said


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


def members() -> dict[str, dict[str, Any]]:
    found = json.loads(json.dumps(schema()))["properties"]
    assert isinstance(found, dict)
    return found


def test_the_schema_has_every_variable_and_its_file() -> None:
    assert {"POSTGRES_BATCH_SIZE", "NEO4J_PASSWORD_FILE", "EXTRACTOR_REQUIRE", "KINDS"} <= set(members())


def test_the_schema_knows_bounds_words_and_defaults() -> None:
    found = members()

    assert found["POSTGRES_BATCH_SIZE"] == {
        "type": ["string", "integer", "null"],
        "description": "a whole number from 1 to 32767",
        "minimum": 1,
        "maximum": 32767,
        "default": 500,
    }
    assert found["POSTGRES_TLS"]["type"] == ["string", "boolean", "null"]
    assert found["LOG_LEVEL"]["examples"] == ["debug", "info", "warning", "error"]
    assert found["KINDS"]["default"] == "artists,labels,masters,releases"
    assert "default" not in found["RABBITMQ_PASSWORD"]
    assert (found["MESSAGE_MAX_BYTES"]["minimum"], found["MESSAGE_MAX_BYTES"]["default"]) == (1024, "16MiB")


def test_the_schema_takes_every_default_and_refuses_a_number_out_of_bounds() -> None:
    validator = Draft202012Validator(schema())
    defaults = {name: each["default"] for name, each in members().items() if "default" in each}

    assert list(validator.iter_errors(defaults)) == []
    assert [list(error.path) for error in validator.iter_errors({"NEO4J_WRITERS": 0, "POSTGRES_WRITERS": 3})] == [
        ["NEO4J_WRITERS"]
    ]
