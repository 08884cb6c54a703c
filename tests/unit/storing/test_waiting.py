"""How a service waits for its store at the start."""

import asyncio

import pytest
from structlog.testing import capture_logs

from common.backoff import DEFAULT, Backoff, Jitter, Strategy
from common.errors import StartRefused
from common.storing.waiting import Wait, until_ready
from tests.virtual_time import in_virtual_time


async def wait_for(*failures: OSError, pause: float | None = None, backoff: Backoff = DEFAULT) -> int:
    """Wait for a store that fails so often, and then is ready. Returns: how often it was tried."""
    left, tries = list(failures), 0

    async def prepare() -> None:
        nonlocal tries
        tries += 1
        if left:
            raise left.pop(0)

    def judge(error: Exception) -> Wait:
        if str(error) == "hopeless":
            raise StartRefused("hopeless") from error
        return Wait(str(error), pause)

    await until_ready(prepare, store="fake", address="there:1", errors=(OSError,), judge=judge, backoff=backoff)
    return tries


@in_virtual_time
async def test_a_store_is_tried_until_it_is_ready_and_the_reason_is_said_at_once_and_then_every_half_minute() -> None:
    with capture_logs() as lines:
        tries = await wait_for(*[OSError("refused")] * 8, pause=5.0)

    assert tries == 9
    assert [(line.get("reason"), line.get("seconds")) for line in lines] == [
        ("refused", None),
        ("refused", 30),
        (None, 40),
    ]


@in_virtual_time
async def test_a_store_is_tried_again_as_the_settings_say() -> None:
    now = asyncio.get_running_loop().time

    began = now()
    await wait_for(*[OSError("refused")] * 4, backoff=Backoff(Strategy.LINEAR, Jitter.NONE, base=1.0, cap=3.0))

    assert now() - began == pytest.approx(1.0 + 2.0 + 3.0 + 3.0)


@in_virtual_time
async def test_a_store_that_wants_to_be_left_alone_is_left_alone() -> None:
    now = asyncio.get_running_loop().time

    began = now()
    await wait_for(OSError("locked out"), pause=60.0)

    assert now() - began == pytest.approx(60.0)


@in_virtual_time
async def test_what_no_waiting_would_fix_ends_the_start() -> None:
    with pytest.raises(StartRefused):
        await wait_for(OSError("refused"), OSError("hopeless"))
