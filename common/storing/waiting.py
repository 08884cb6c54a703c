"""Wait for a store at the start: it may come up after its service."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from common.backoff import Backoff
from common.telemetry.trouble import Trouble

log = structlog.get_logger()


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
    backoff: Backoff,
) -> None:
    """Prepare a store as soon as it lets us; say why and for how long we wait.

    `errors` are what `prepare` raises of a store; `judge` raises StartRefused for those that no waiting would fix.
    """
    pauses, trouble = backoff.delays(), Trouble(log.bind(store=store, address=address))
    try:
        while True:
            try:
                await prepare()
            except errors as error:
                wait = judge(error)
            else:
                trouble.over("The store is there")
                return
            trouble.say("Waiting for the store", wait.reason)
            await asyncio.sleep(next(pauses) if wait.pause is None else wait.pause)
    finally:
        trouble.leave()
