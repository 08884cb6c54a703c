"""The report that a load keeps of itself can neither fail the load nor hide its error."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import StartRefused
from common.rabbitmq.publishing.publisher import PublishFailed
from spindle.advice.meters import Look
from spindle.advice.report import read_report
from spindle.advice.watching import Observer, Recorder
from spindle.advice.window import Window
from spindle.loading import command
from spindle.loading.command import recorded
from tests.unit.spindle.test_advice import WELL, run_of


@dataclass
class Loaded:
    """What the recording reads of a load."""

    settings: Any
    environ: dict[str, str] = field(default_factory=dict)
    load: Any = field(default_factory=lambda: SimpleNamespace(date="20260901"))
    published: list[Any] = field(default_factory=list)
    report: Path | None = None
    has_begun: bool = True


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


class Seen(BadWindow):
    """A recorder that has seen something."""

    @property
    def window(self) -> Any:
        return Window(run_of((15, WELL)), datetime(2026, 9, 1, tzinfo=UTC), "made up")


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (None, "load 20260901"),
        (KeyboardInterrupt(), "load 20260901, interrupted"),
        (PublishFailed("artists: its process was killed"), "load 20260901, failed"),
    ],
    ids=["complete", "interrupted", "failed"],
)
def test_a_load_keeps_its_report_however_it_ends(
    loading: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException | None,
    title: str,
) -> None:
    monkeypatch.setattr(command, "Recorder", Seen)

    def load() -> None:
        with recorded(loading):
            if error is not None:
                raise error

    if error is None:
        load()
    else:
        with pytest.raises(type(error)):
            load()

    page = loading.settings.state / "20260901.report.html"
    assert capsys.readouterr().err == f"How it went, and what limited it: {page}\n"
    assert (read_report(page.with_suffix(".json"))["title"], loading.report) == (title, page)
    assert f"<title>Spindle: {title}</title>" in page.read_text()


def test_a_load_that_had_nothing_to_publish_keeps_no_report_and_says_nothing(
    loading: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "Recorder", Seen)
    loading.has_begun = False

    with recorded(loading):
        pass

    assert (capsys.readouterr().err, loading.report, list(loading.settings.state.iterdir())) == ("", None, [])


SAY_WHERE = "STATUS_GRAPHINATOR and STATUS_TABLEINATOR say"


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (
            ("127.0.0.1:1", "localhost.invalid:2"),
            "no service answered at 127.0.0.1:1, localhost.invalid:2: does not answer: [Errno 111] Connection refused; "
            f"the host's name is not known (localhost.invalid): no replica runs there; {SAY_WHERE} where to ask",
        ),
        (("none", "none"), f"{SAY_WHERE} that there is no service to ask"),
    ],
    ids=["nobody answers", "nobody is to be asked"],
)
def test_why_there_is_no_report_is_said_in_one_sentence(
    loading: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    places: tuple[str, str],
    said: str,
) -> None:
    monkeypatch.setattr(command, "Recorder", Recorder)
    loading.environ = dict(zip(("STATUS_GRAPHINATOR", "STATUS_TABLEINATOR"), places, strict=True))
    loading.environ |= {"RABBITMQ_URL": "amqp://127.0.0.1:1", "RABBITMQ_MANAGEMENT_URL": "none"}

    with recorded(loading):
        pass

    assert capsys.readouterr().err == f"No report of how it went: {said}.\n"
    assert loading.report is None


def test_a_load_that_ends_before_the_second_look_says_so(
    loading: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first look takes longer than all of it, and is the last."""
    made: list[Recorder] = []

    class Slow(Recorder):
        def __init__(self, environ: Mapping[str, str]) -> None:
            super().__init__(environ)
            made.append(self)

    async def look(_: Observer) -> Look:
        await asyncio.to_thread(made[0]._ended.wait, 10)
        return run_of((15, WELL))[0]

    monkeypatch.setattr(command, "Recorder", Slow)
    monkeypatch.setattr(Observer, "look", look)

    with recorded(loading):
        pass

    said = capsys.readouterr().err
    assert said == "No report of how it went: it ended before the services had been looked at twice.\n"
