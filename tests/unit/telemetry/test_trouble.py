"""What goes wrong is said at once, again every 30 s with how long it has lasted, and once more when it is over."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.testing import capture_logs

from common.telemetry.trouble import Trouble
from tests.virtual_time import in_virtual_time

Lines = list[MutableMapping[str, Any]]


def said(lines: Lines) -> list[tuple[str, str | None, float | None]]:
    return [(line["event"], line.get("reason"), line.get("seconds")) for line in lines]


@in_virtual_time
async def test_a_trouble_is_said_again_every_half_minute_with_its_duration() -> None:
    trouble = Trouble(structlog.get_logger(), lambda: {"kept": 2})

    with capture_logs() as lines:
        for _ in range(65):
            trouble.say("Away", "refused")
            await asyncio.sleep(1)
        trouble.over("Back")
        await asyncio.sleep(100)

    assert said(lines) == [
        ("Away", "refused", None),
        ("Away", "refused", 30),
        ("Away", "refused", 60),
        ("Back", None, 65),
    ]
    assert [line.get("kept") for line in lines] == [2, 2, 2, None]


@in_virtual_time
async def test_each_new_reason_is_said_once_and_the_last_is_said_again() -> None:
    trouble = Trouble(structlog.get_logger())

    with capture_logs() as lines:
        for reason in ("lost", "refused", "lost", "refused"):
            trouble.say("Away", reason)
        await asyncio.sleep(30.1)
        trouble.leave()

    assert said(lines) == [("Away", "lost", None), ("Away", "refused", None), ("Away", "refused", 30)]


@in_virtual_time
async def test_the_next_trouble_is_said_from_its_beginning() -> None:
    trouble = Trouble(structlog.get_logger())

    with capture_logs() as lines:
        trouble.over("Back")  # nothing was wrong
        trouble.say("Away", "lost")
        await asyncio.sleep(20)
        trouble.over("Back")
        trouble.say("Away", "lost")
        await asyncio.sleep(20)
        trouble.leave()
        await asyncio.sleep(100)

    assert said(lines) == [("Away", "lost", None), ("Back", None, 20), ("Away", "lost", None)]
