"""Hold while a store is away, and notice when it is back. One breaker per store, shared by all of a process's writers.

            a write finds the store away
    closed ─────────────────────────────────► open ◄───────┐
      ▲                                        │           │
      │                      a probe is answered           │ its write finds the store away, too
      │                                        ▼           │
      └──────────────────────────────────── half-open ─────┘
        its write is answered, or nobody waits         (and open to closed, if a write that began before commits)

Closed, everybody writes. Open, nobody does, and one task probes: it writes the record whose write failed, and rolls it
back, after each of the delays that the settings choose (0.1 s, doubling to 2 s, with full jitter). Half-open, one of
those who wait writes. Only a commit that changed something begins the delays again: a full disk lets a probe pass and
still answers reads, and a bad record is refused by a store that takes no good one either.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from types import TracebackType

import structlog

from common.backoff import DEFAULT, Backoff, Strategy
from common.errors import BatchTooLarge, RecordsRefused, SinkError, StoreUnavailable, WriteConflict
from common.sink import BreakerState, StoreState
from common.telemetry.metrics import STORE_ALARM, show_breaker, watch_trial
from common.telemetry.trouble import Trouble

log = structlog.get_logger()

# A deadlock's loser usually wins the next time; six in a row are not bad luck but a store that can't be written to.
CONFLICT_RETRIES = 5
CONFLICTS = Backoff(Strategy.FIXED, base=0.05, cap=0.05)
"""Between two of those tries. Always jittered, so that two losers do not meet again."""

Probe = Callable[[], Awaitable[object]]
"""Writes a record and rolls it back. Raises as the sink does, and Released while the process drains."""


class Released(Exception):
    """The caller need not wait any longer: its channel has ended, or the process is draining."""


class _Contended(StoreUnavailable):
    """The store answers, and each attempt meets another writer: no outage, but nothing is written either."""

    def __init__(self, error: WriteConflict) -> None:
        super().__init__(f"conflict after conflict: {error}")


class Breaker:
    """The breaker of one store."""

    def __init__(
        self,
        *,
        service: str,
        store: str,
        address: str = "",
        backoff: Backoff = DEFAULT,
        rng: random.Random | None = None,
    ) -> None:
        """`address`: where the store is, for the log and for readiness. `backoff`: from one probe to the next."""
        self._backoff = backoff
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._service, self._store = service, store
        self._at = {"address": address} if address else {}
        self._phase = BreakerState.CLOSED
        self._trial: Attempts | None = None  # the one write of the half-open phase, while it is under way
        self._waiting = 0
        self._unheard = 0  # of those who waited when the half-open phase began
        self._kept = 0  # writes that were begun and not answered: batches, as a rule
        self._trouble = Trouble(log.bind(store=store, **self._at), lambda: {"batches_kept": self._kept})
        self._is_doubted = False  # a write has failed after a probe was answered: closing alone does not say it is over
        self._is_away = False  # in this trouble, something else than conflicts was the matter
        self._probe: Probe
        self._is_probe_made_up = False  # whether a writer that waits has a better one
        self._failures = 0  # attempts that found the store away in this trouble
        self._delays: Iterator[float] | None = None  # None: a commit was the last that was heard of
        self._quiet_until = 0.0  # for as long as the store wants to be left alone
        self._is_stopping = False
        self._changed = asyncio.Event()
        self.state = StoreState(store, available=True)
        self.heard_at = float("-inf")
        """When the store last answered a write or failed to: the loop's time."""
        self.episodes = 0
        """How many outages there have been: what failed before the last one is no evidence."""
        self.next_trial: float | None = None
        """When the next probe begins: the loop's time; None if none is waited for."""
        self._show()
        watch_trial(service, store, lambda: self.next_trial)

    @property
    def is_open(self) -> bool:
        """Whether writers hold."""
        return self._phase is not BreakerState.CLOSED

    @property
    def is_stopping(self) -> bool:
        """Whether the process drains."""
        return self._is_stopping

    async def run(self) -> None:
        """Probe while the store is away, also if nobody waits; until cancelled, or until the process drains."""
        while not self._is_stopping:
            if self._phase is not BreakerState.OPEN:
                await self._change()
                continue
            self._delays = self._delays or self._backoff.delays(self._rng)
            now = asyncio.get_running_loop().time
            await self._until_trial(max(now() + next(self._delays), self._quiet_until))
            if self._phase is BreakerState.OPEN and not self._is_stopping and now() >= self._quiet_until:
                await self._ask()

    def attempts(self, probe: Probe, *, gone: Callable[[], bool], proves: bool = True) -> "Attempts":
        """Attempts at one write, until one is answered.

            async for attempt in breaker.attempts(probe, gone=…):
                with attempt:
                    await write()

        `probe` asks the store for this write's return if it fails; `gone` tells that waiting has become pointless.
        Without `proves` it is rolled back: then it waits until the store is back, and its success proves no commit.
        Raises: Released; and what the store says of the data: RecordsRefused, BatchTooLarge.
        """
        return Attempts(self, probe, gone, proves=proves)

    async def until_closed(self) -> None:
        """Wait until the store is back.

        Raises: Released.
        """
        while self.is_open:
            if self._is_stopping:
                raise Released
            await self._change()

    def stop(self) -> None:
        """Drain: nobody waits from now on."""
        self._is_stopping = True
        self._trouble.leave()
        self.release()

    def release(self) -> None:
        """Let those go that have no reason to wait any more."""
        self._tell()

    # What attempts tell

    def began(self) -> None:
        """A write is kept from now on, until it is let go."""
        self._kept += 1

    def let_go(self) -> None:
        """A write is done, was refused, or was broken off."""
        self._kept -= 1

    async def admit(self, attempts: "Attempts", probe: Probe, gone: Callable[[], bool]) -> None:
        """Wait until one may write; half-open, become the one write of that phase.

        Raises: Released.
        """
        self._waiting += 1
        try:
            if self._phase is BreakerState.HALF_OPEN:
                await asyncio.sleep(0)  # those who were told before go first
            while self._phase is BreakerState.OPEN or self._trial is not None:
                if self._is_stopping or gone():
                    raise Released
                if self._is_probe_made_up:  # the store may be away for what was made up, and take this
                    self._probe, self._is_probe_made_up = probe, False
                await self._change()
            if self._phase is BreakerState.HALF_OPEN:
                self._trial = attempts
        finally:
            self._waiting -= 1
            self._close_if_nobody_tries()

    def heard(self) -> None:
        """The store has answered, or failed to."""
        self.heard_at = asyncio.get_running_loop().time()

    def failed(self, error: StoreUnavailable, probe: Probe, *, is_made_up: bool) -> None:
        """A write found the store away."""
        if self._phase is BreakerState.CLOSED:
            self.episodes += 1
        self._probe, self._is_probe_made_up = probe, is_made_up
        self._open(error)

    def committed(self) -> None:
        """A write is done: the store is there."""
        self._delays = None
        self._is_doubted = False
        if self.is_open:
            self._close()
        self._be_over()

    def answered(self, attempts: "Attempts") -> None:
        """A transaction is done that had nothing to write: no evidence that the store takes writes."""
        if self._phase is BreakerState.CLOSED:
            self._is_doubted = False
            self._be_over()
        elif self._trial is attempts:
            self._unheard -= 1  # the next one may have something to write, and if nobody has, nothing is in doubt
            self.ended(attempts, is_answer=self._unheard <= 0)

    def ended(self, attempts: "Attempts", *, is_answer: bool) -> None:
        """A write was refused, or ended without showing whether the store takes any."""
        if self._trial is not attempts:
            return  # of this phase it is not the trial: the breaker has closed, or opened again, since it began
        self._trial = None
        if is_answer:
            self._close()
        self._close_if_nobody_tries()
        self._tell()

    def conflict_pause(self) -> float:
        """Seconds to wait after a conflict."""
        return next(CONFLICTS.delays(self._rng))

    # Phases

    async def _until_trial(self, at: float) -> None:
        """Wait until then, or until a commit has closed the breaker: the next outage has delays of its own."""
        self.next_trial, delays = at, self._delays
        with suppress(TimeoutError):
            async with asyncio.timeout_at(at):
                while self._delays is delays and self._phase is BreakerState.OPEN and not self._is_stopping:
                    await self._change()
        self.next_trial = None

    async def _ask(self) -> None:
        try:
            await self._probe()
        except StoreUnavailable as error:
            self._open(error)
        except WriteConflict as error:
            # No answer: if conflicts are what is the matter, it would close and open forever.
            self._open(_Contended(error))
        except (RecordsRefused, BatchTooLarge):
            self._half_open()
        except Released:
            return
        else:
            self._half_open()

    def _open(self, error: StoreUnavailable) -> None:
        since = asyncio.get_running_loop().time() if self.state.available else self.state.since
        self._is_doubted = self._is_doubted or self._phase is BreakerState.HALF_OPEN
        self._complain(error)
        if error.alarm is not None and error.alarm != self.state.alarm:
            log.error("Store needs attention", store=self._store, alarm=error.alarm)
        if error.pause is not None:
            self._quiet_until = asyncio.get_running_loop().time() + self._rng.uniform(*error.pause)
            if self.next_trial is not None:
                self.next_trial = max(self.next_trial, self._quiet_until)
        self._failures += 1
        self._phase, self._trial = BreakerState.OPEN, None
        detail = ": ".join((*self._at.values(), str(error)))
        self.state = StoreState(self._store, available=False, detail=detail, alarm=error.alarm, since=since)
        self._show()
        self._tell()

    def _complain(self, error: StoreUnavailable) -> None:
        if self._is_stopping:
            return
        self._is_away = self._is_away or not isinstance(error, _Contended)
        away, in_the_way = "Store unavailable, holding", "Writers are in each other's way, holding"
        self._trouble.say(in_the_way if isinstance(error, _Contended) else away, str(error))

    def _half_open(self) -> None:
        if self._phase is BreakerState.OPEN:
            self._phase, self._unheard = BreakerState.HALF_OPEN, self._waiting
            self._show()
            self._close_if_nobody_tries()
            self._tell()

    def _close_if_nobody_tries(self) -> None:
        if self._phase is BreakerState.HALF_OPEN and self._trial is None and not self._waiting:
            self._close()

    def _close(self) -> None:
        if not self._is_doubted:
            self._be_over()
        self._phase, self._trial = BreakerState.CLOSED, None
        self.state = StoreState(self._store, available=True)
        self._show()
        self._tell()

    def _be_over(self) -> None:
        self._trouble.over("Store available again" if self._is_away else "Writing again after conflicts")
        self._is_away = False
        if self._failures:
            self._failures = 0
            self._show()

    async def _change(self) -> None:
        await self._changed.wait()

    def _tell(self) -> None:
        """Let everybody look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _show(self) -> None:
        show_breaker(self._service, self._store, self._phase, failures=self._failures)
        STORE_ALARM.labels(self._service, self._store).set(self.state.alarm is not None)


class Attempts:
    """The attempts at one write, each a context that tells the breaker how it ended."""

    def __init__(self, breaker: Breaker, probe: Probe, gone: Callable[[], bool], *, proves: bool) -> None:
        self._breaker, self._probe, self._gone, self._proves = breaker, probe, gone, proves
        self._is_kept = False
        self._is_answered = False
        self._conflicts = 0
        self.has_written = True
        """Whether what was answered changed the store. To be told within the attempt."""

    def __aiter__(self) -> "Attempts":
        return self

    async def __anext__(self) -> "Attempts":
        if self._is_answered:
            raise StopAsyncIteration
        try:
            if self._conflicts:
                await asyncio.sleep(self._breaker.conflict_pause())
            await self._be_admitted()
        except BaseException:
            self._let_go()
            raise
        return self

    async def _be_admitted(self) -> None:
        if not self._proves:
            await self._breaker.until_closed()
            return
        if not self._is_kept:
            self._is_kept = True
            self._breaker.began()
        await self._breaker.admit(self, self._probe, self._gone)

    def _let_go(self) -> None:
        if self._is_kept:
            self._is_kept = False
            self._breaker.let_go()

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, traceback: TracebackType | None) -> bool:
        if error is None or isinstance(error, SinkError):
            self._breaker.heard()
        if isinstance(error, WriteConflict):
            self._conflicts += 1
            if self._conflicts <= CONFLICT_RETRIES and not self._breaker.is_open:
                return True
            error = _Contended(error)
        if isinstance(error, StoreUnavailable):
            self._conflicts = 0
            self._breaker.failed(error, self._probe, is_made_up=not self._proves)
            return True
        self._is_answered = True
        self._let_go()
        if error is not None:
            self._breaker.ended(self, is_answer=isinstance(error, RecordsRefused | BatchTooLarge))
        elif self._proves and self.has_written:
            self._breaker.committed()
        elif self._proves:
            self._breaker.answered(self)
        return False
