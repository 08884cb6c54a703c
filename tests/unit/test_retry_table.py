"""The table of docs/failures.md that says what waits how long before it is tried again: true to the code."""

import inspect
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common import errors
from common.backoff import DEFAULT, Backoff, Jitter, Strategy
from common.errors import SinkError, SpindleError
from common.pipeline import bookkeeper
from common.quarantine import evidence
from common.rabbitmq import reconnecting
from common.rabbitmq.publishing import publisher
from common.storing import breaker
from extractor import queues
from extractor.fetching import waiting
from graphinator import classification
from tests.simulation.scenarios import draw
from tests.simulation.simulate import simulate

PAGE = (Path(__file__).parents[2] / "docs/failures.md").read_text()
SECTION = PAGE.partition("## How soon it is tried again\n")[2].partition("\n## ")[0]
ROWS = {cells[0]: cells[1:] for line in SECTION.splitlines() if (cells := line.strip("| ").split(" | "))[1:]}

CHOSEN = "as `RETRY_*` says"


def span(pause: tuple[float, float]) -> str:
    return f"{pause[0]:g} to {pause[1]:g} s"


WAITS = {
    "`StoreUnavailable`": CHOSEN,
    "`StoreUnavailable`, password refused": span(classification.WRONG_PASSWORD_PAUSE),
    "`StoreUnavailable`, locked out": span(classification.LOCKED_OUT_PAUSE),
    "`WriteConflict`": str(breaker.CONFLICTS),
    "`BatchTooLarge`": "none",
    "`RecordsRefused`, the data's fault": CHOSEN,
    "`RecordsRefused`, of unknown meaning": f"{evidence.ROUND_PAUSE:g} s",
    "`DecodeError`": "-",
    "`BrokerUnavailable`": CHOSEN,
    "`StartRefused`": CHOSEN,
    "`SettingsError`": "-",
    "a dead letter is refused, or no queue takes it": CHOSEN,
    "the ledger can't be written": f"{bookkeeper.INTERVAL:g} s",
    "the extractor's broker is away, or refuses a message": str(DEFAULT),
    "a queue that the extractor needs is missing": str(queues.BACKOFF),
    "a download breaks off": str(waiting.BACKOFF),
}
"""What the table says of each row's waits, made of the numbers that the code has."""


def test_each_row_says_what_the_code_waits() -> None:
    assert {meaning: cells[1] for meaning, cells in ROWS.items()} == {"what it means": "waits", **WAITS}


def test_each_meaning_of_an_error_has_a_row() -> None:
    meanings = {
        name
        for name, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, SpindleError) and each not in (SpindleError, SinkError)
    }

    assert {meaning.split("`")[1] for meaning in ROWS if meaning.startswith("`")} == meanings


def test_the_numbers_of_tries_are_those_of_the_code() -> None:
    assert ROWS["`WriteConflict`"][2].startswith(f"{breaker.CONFLICT_RETRIES} tries")
    assert f"{evidence.ROUNDS} rounds" in ROWS["`RecordsRefused`, of unknown meaning"][2]
    assert f"{publisher._ATTEMPTS} tries" in ROWS["the extractor's broker is away, or refuses a message"][2]
    assert f"lasted {reconnecting.STEADY:g} s" in SECTION
    assert "doubles from 0.1 s to 2 s, with full jitter" in SECTION.replace("\n", " ")
    assert str(DEFAULT) == "exponential 0.1 to 2 s, full jitter"


WHO = {
    "Breaker.run": "`StoreUnavailable`",
    "Breaker.conflict_pause": "`WriteConflict`",
    "Reconnecting.__init__": "`BrokerUnavailable`",
    "Reconnecting.delay": "`BrokerUnavailable`",
    "DeadLetterPublisher._publish_on": "a dead letter is refused, or no queue takes it",
    "Quarantine.__init__": "`RecordsRefused`, the data's fault",
    "Quarantine._show": "`RecordsRefused`, the data's fault",
    "HoldLimit._until_taken": "`RecordsRefused`, the data's fault",
}
"""What in a service begins to wait, and the row that says how."""


def test_whatever_a_service_waits_for_it_waits_as_its_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Backoff(Strategy.LINEAR, Jitter.NONE, base=0.3, cap=1.5)
    real, used = Backoff.delays, dict[str, set[str]]()

    def delays(self: Backoff, rng: random.Random | None = None) -> Any:
        who = sys._getframe(1).f_code.co_qualname
        used.setdefault(who, set()).add(CHOSEN if self == chosen else str(self))
        return real(self, rng)

    monkeypatch.setattr(Backoff, "delays", delays)
    for seed in (*range(16), 180):  # that one comes to its hold limit while everything is refused
        story = draw(seed)
        simulate(replace(story, setup=replace(story.setup, backoff=chosen)))

    assert used == {who: {ROWS[meaning][1]} for who, meaning in WHO.items()}
