"""Hold while a store is away, and notice when it is back.

One per store, shared by all of a process's writers. While the breaker is open everybody waits but one: the oldest held
batch is written again after 0.1 s, doubling to 2 s, with full jitter, and that write is the probe.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import structlog

from common.backoff import delays
from common.errors import BatchTooLarge, RecordsRefused, StoreUnavailable, WriteConflict
from common.telemetry.metrics import BREAKER_OPEN, STORE_ALARM

log = structlog.get_logger()

T = TypeVar("T")

# A deadlock's loser usually wins the next time; six in a row are not bad luck but a store that can't be written to.
CONFLICT_RETRIES = 5
CONFLICT_PAUSE = 0.05  # seconds at the most, jittered, so that two losers do not meet again


class Released(Exception):
    """A holder need not wait any longer: its channel has ended, or the process is draining."""


@dataclass(slots=True, eq=False)
class _Holder:
    since: float
    gone: Callable[[], bool]
    turn: "asyncio.Future[None]"
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class StoreState:
    """What readiness says of a store. `since` is the loop's time at which the hold began."""

    available: bool
    detail: str = ""
    alarm: str | None = None
    since: float | None = None


class Breaker:
    """The breaker of one store."""

    def __init__(self, *, service: str, store: str, rng: random.Random | None = None) -> None:
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._service, self._store = service, store
        self._holders: list[_Holder] = []
        self._delays: Iterator[float] = iter(())
        self._timer: asyncio.TimerHandle | None = None
        self._probing = False
        self._stopping = False
        self._conflicting = False
        self.state = StoreState(available=True)
        self.episodes = 0
        """How many outages there have been: suspicions that are older than the last one count for nothing."""
        self._show()

    @property
    def is_open(self) -> bool:
        """Whether writers hold."""
        return not self.state.available

    @property
    def is_asked(self) -> bool:
        """Whether somebody holds, and so asks the store from time to time."""
        return self._probing or bool(self._holders)

    def stop(self) -> None:
        """Drain: nobody holds from now on; who would, is released."""
        self._stopping = True
        self.release()

    def release(self) -> None:
        """Let those holders go that have no reason to wait any more."""
        for holder in list(self._holders):
            if self._stopping or holder.gone():
                self._holders.remove(holder)
                if not holder.turn.done():
                    holder.turn.set_result(None)

    async def attempt(self, action: Callable[[], Awaitable[T]], *, since: float, gone: Callable[[], bool]) -> T:
        """Run one write; hold and run it again for as long as the store is away.

        `since` orders the holders: the oldest probes. `gone` tells that holding has become pointless.
        Raises: Released; and what the store says of the data: RecordsRefused, BatchTooLarge.
        """
        conflicts = 0
        while True:
            probing = False
            while self.is_open and not probing:
                probing = await self._turn(since, gone)
            try:
                result = await action()
            except StoreUnavailable as error:
                self._failed(error, probed=probing)
            except WriteConflict as error:
                conflicts += 1
                # One more conflict is no answer where conflicts are what is the matter: each holder would close the
                # breaker five times over, and everybody would try again at once.
                if conflicts > CONFLICT_RETRIES or self._conflicting:
                    self._conflicting = True
                    self._failed(StoreUnavailable(f"conflict after conflict: {error}"), probed=probing)
                else:
                    self._answered()
                    await asyncio.sleep(self._rng.uniform(0, CONFLICT_PAUSE))
            except (RecordsRefused, BatchTooLarge):
                self._answered()
                raise
            except BaseException:
                self._probe_over(probing)
                raise
            else:
                self._answered()
                return result

    async def _turn(self, since: float, gone: Callable[[], bool]) -> bool:
        """Wait until the store is back or it is this holder's turn to probe.

        Returns: whether this holder is the probe.
        Raises: Released.
        """
        if self._stopping or gone():
            raise Released
        holder = _Holder(since, gone, asyncio.get_running_loop().create_future())
        self._holders.append(holder)
        try:
            await holder.turn
        except asyncio.CancelledError:
            self._leave(holder)
            raise
        if self.is_open and (self._stopping or gone()):
            self._leave(holder)
            raise Released
        return holder.chosen and self.is_open

    def _leave(self, holder: _Holder) -> None:
        if holder in self._holders:
            self._holders.remove(holder)
        self._probe_over(holder.chosen)

    def _failed(self, error: StoreUnavailable, *, probed: bool) -> None:
        if self.state.available:
            self.episodes += 1
            self._delays = delays(rng=self._rng)
            since = asyncio.get_running_loop().time()
            log.warning("Store unavailable, holding", store=self._store, reason=str(error))
        else:
            since = self.state.since or 0.0
        if error.alarm is not None and error.alarm != self.state.alarm:
            log.error("Store needs attention", store=self._store, alarm=error.alarm)
        self.state = StoreState(available=False, detail=str(error), alarm=error.alarm, since=since)
        self._show()
        if probed:
            self._probing = False
        if error.pause is not None:
            self._leave_alone(error.pause)
        self._wind()

    def _leave_alone(self, pause: tuple[float, float]) -> None:
        """Have the next probe come no sooner than the store wants it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._delays = chain([self._rng.uniform(*pause)], self._delays)

    def _answered(self) -> None:
        """The store has judged a batch: it is there."""
        self._conflicting = False
        if self.state.available:
            return
        held = asyncio.get_running_loop().time() - (self.state.since or 0.0)
        log.info("Store available again", store=self._store, held_seconds=round(held, 1))
        self.state = StoreState(available=True)
        self._show()
        self._probing = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for holder in self._holders:
            if not holder.turn.done():
                holder.turn.set_result(None)
        self._holders.clear()

    def _probe_over(self, probed: bool) -> None:
        """The probe ended without an answer (cancelled, or released): the next one's turn."""
        if probed and self.is_open:
            self._probing = False
            self._wind()

    def _wind(self) -> None:
        """Set the clock for the next probe, unless it is set or one is under way."""
        if self._timer is None and not self._probing:
            self._timer = asyncio.get_running_loop().call_later(next(self._delays), self._choose)

    def _choose(self) -> None:
        self._timer = None
        waiting = [holder for holder in self._holders if not holder.turn.done()]
        if not waiting:
            self._wind()
            return
        oldest = min(waiting, key=lambda holder: holder.since)
        self._holders.remove(oldest)
        self._probing = oldest.chosen = True
        oldest.turn.set_result(None)

    def _show(self) -> None:
        BREAKER_OPEN.labels(self._service, self._store).set(self.is_open)
        STORE_ALARM.labels(self._service, self._store).set(self.state.alarm is not None)
