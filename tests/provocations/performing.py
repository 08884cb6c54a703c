"""One situation from its begin to its row."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.provocations.judging import Row, row_of
from tests.provocations.situations import Situation
from tests.provocations.stage import Servers, stage_of

KEPT = Path("build/provocations")

LIMIT = 120.0
"""Seconds that one situation may take beside watching."""


async def perform(servers: Servers, situation: Situation, number: int) -> Row:
    """Make it, have it watched, clear it away; what goes wrong is in the row, and the next one begins afresh."""
    began = time.monotonic()
    name, how, expected = situation.full_name, situation.how, situation.expected
    try:
        with _folder(name) as folder:
            async with (
                asyncio.timeout(LIMIT + situation.seconds) as limit,
                stage_of(servers, situation.service, folder, number) as stage,
                situation.make(stage),
            ):
                advice = await stage.advice(situation.seconds)
                limit.reschedule(None)  # clearing away takes what it takes
    except Exception as error:  # noqa: BLE001 - whatever it was belongs into the table
        return Row(name, how, expected, error=_in_words(error), seconds=round(time.monotonic() - began, 1))
    return row_of(name, how, expected, situation.beside, advice, round(time.monotonic() - began, 1))


@contextmanager
def _folder(name: str) -> Iterator[Path]:
    """For the service's log, which is kept if something goes wrong."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield Path(folder)
        except BaseException:
            shutil.copytree(folder, KEPT / name, dirs_exist_ok=True)
            raise


def _in_words(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
