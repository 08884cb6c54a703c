"""Wait for a store at the start: it may come up after its service."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from common.backoff import delays

log = structlog.get_logger()

_SAY_AGAIN = 10.0
"""Seconds between two lines that say the same."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a store can't be used yet."""

    reason: str
    pause: float | None = None
    """Seconds to leave the store alone; None: as long as after any other outage."""


async def until_ready(
    prepare: Callable[[], Awaitable[None]],
    *,
    store: str,
    address: str,
    errors: tuple[type[Exception], ...],
    judge: Callable[[Exception], Wait],
) -> None:
    """Prepare a store as soon as it lets us; say why we wait, at once and then now and then.

    `errors` are what `prepare` raises of a store; `judge` raises StartRefused for those that no waiting would fix.
    """
    now = asyncio.get_running_loop().time
    pauses, say_at = delays(), now()
    while True:
        try:
            await prepare()
        except errors as error:
            wait = judge(error)
        else:
            return
        if now() >= say_at:
            log.warning("Waiting for the store", store=store, address=address, reason=wait.reason)
            say_at = now() + _SAY_AGAIN
        await asyncio.sleep(next(pauses) if wait.pause is None else wait.pause)
