"""The report that a load keeps of itself can neither fail the load nor hide its error."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import StartRefused
from spindle.advice.watching import Observer, Recorder
from spindle.loading import command
from spindle.loading.command import recorded


@dataclass
class Loaded:
    """What the recording reads of a load."""

    settings: Any
    environ: dict[str, str] = field(default_factory=dict)
    load: Any = field(default_factory=lambda: SimpleNamespace(date="20260901"))
    written: dict[Any, int] = field(default_factory=lambda: {("artists", "tables"): 1})


class BadWindow:
    """A recorder whose answer can't be had."""

    trouble = ""

    def __init__(self, environ: dict[str, str]) -> None:
        pass

    def __enter__(self) -> "BadWindow":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def window(self) -> None:
        raise KeyError("amqp://me:secret@host\nnumbers")


@pytest.fixture
def loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(command, "Recorder", BadWindow)
    return Loaded(SimpleNamespace(state=tmp_path))


def test_a_report_that_fails_does_not_fail_the_load(loading: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with recorded(loading):
        pass

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("The load's report could not be kept: KeyError")
    assert "secret" not in line


def test_a_report_that_fails_hides_no_error_of_the_load(loading: Any) -> None:
    with pytest.raises(StartRefused, match="the load's own"), recorded(loading):
        raise StartRefused("the load's own")


def test_a_load_that_can_not_be_watched_is_loaded(
    loading: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: object) -> None:
        raise ValueError("no such setting")

    monkeypatch.setattr(command, "Recorder", refuse)
    done = []

    with recorded(loading):
        done.append(1)

    assert done
    assert capsys.readouterr().err == "The load's report could not be watched: ValueError: no such setting\n"


def test_looking_that_fails_ends_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder({"STATUS_GRAPHINATOR": "none", "STATUS_TABLEINATOR": "none"})

    async def fail(_: object) -> None:
        raise KeyError("a meter")

    monkeypatch.setattr(Observer, "look", fail)
    with recorder:
        recorder._thread.join(10)

    assert (recorder.trouble, recorder.window) == ("KeyError: 'a meter'", None)
