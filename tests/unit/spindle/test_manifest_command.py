"""`spindle manifest`: a load is listed without any server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from extractor.manifest.format import NO_HASH, path_of
from extractor.manifest.reader import Manifest
from spindle.cli import main

LABELS = b"<labels><label><id>1</id><name>A</name></label><label><id>4</id><name>B</name></label></labels>"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPINDLE_STATE", str(tmp_path / "state"))
    (tmp_path / "discogs_20260301_labels.xml").write_bytes(LABELS)
    return tmp_path


def test_a_folder_is_listed(folder: Path) -> None:
    program = [sys.executable, "-m", "spindle", "manifest", str(folder), "--json", "--kinds", "labels"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)["kinds"]["labels"]
    assert (found["records"], found["problem"]) == (2, "")
    path = path_of(folder / "state", "20260301", "labels")
    assert found["manifest"] == str(path)
    with Manifest.open(path, load="20260301", kind="labels") as manifest:
        assert list(manifest.ids()) == [1, 4]
        assert NO_HASH not in {row.sha256 for row in manifest.rows()}


def test_a_folder_that_can_not_be_listed_whole_says_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "discogs_20260301_labels.xml").write_bytes(LABELS.removesuffix(b"</labels>"))

    code = main(["manifest", str(folder), "--kinds", "labels", "--ids-only"])

    assert code == 2
    assert "labels: the file ends without </labels>" in capsys.readouterr().err
    assert not path_of(folder / "state", "20260301", "labels").exists()


@pytest.mark.parametrize("arguments", [[], ["folder", "--synthetic", "5"]])
def test_one_source_is_needed(folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["manifest", *arguments]) == 2
    assert "exactly one of FOLDER, --dumps and --synthetic" in capsys.readouterr().err


def test_without_a_folder_for_them_there_are_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SPINDLE_STATE")

    assert main(["manifest", str(folder)]) == 2
    assert "SPINDLE_STATE names no folder" in capsys.readouterr().err
