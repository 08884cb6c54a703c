"""Look at services, broker and stores for a while: now, for `spindle advise`, or beside a load."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self, TypeVar

from common.errors import SettingsError, SpindleError, StoreUnavailable, WriteConflict
from common.kinds import Service
from common.ops.waits import Waiting
from common.settings.environment import load as load_settings
from common.telemetry.logs import redact
from graphinator.ops import activity as graph_activity
from graphinator.settings import Neo4jSettings
from spindle.advice.meters import Look, Pressure, slim
from spindle.advice.window import Window
from spindle.management import Management, NoManagement
from spindle.settings import OperatorSettings
from spindle.status.broker import ALARMS
from spindle.status.collect import Watcher
from tableinator.ops import activity as table_activity
from tableinator.settings import PostgresSettings

INTERVAL = 2.0
"""Seconds between two looks, at first."""

MOST = 240
"""Looks that are kept: above, every second one is forgotten, and the next come half as often."""

_SAMPLING = 0.25
"""Seconds between two samples of what transactions do: a few in each transaction of a slow store, and cheap."""

_AGAIN = 5.0
"""Seconds until a store that could not be asked is asked again."""

_ENDING = 6.0
"""Seconds that the last look may take: what is slower is left out, for somebody waits."""


_NO_LOGIN = {
    Service.TABLEINATOR: "no login is set here: POSTGRES_PASSWORD or POSTGRES_DSN",
    Service.GRAPHINATOR: "no login is set here: NEO4J_PASSWORD",
}


T = TypeVar("T")


class Activity(Protocol):
    """What tells what transactions do in a store. `unseen`: what it can't tell; empty if it can."""

    unseen: str

    async def look(self) -> list[Waiting]:
        """What each does now.

        Raises: a SinkError.
        """


class Observer:
    """Makes looks, and samples the stores between them."""

    def __init__(self, environ: Mapping[str, str], *, is_about_it: bool = False) -> None:
        """`is_about_it`: what sees nothing for a wrong setting of a store refuses to begin; else it says so at the end.

        Raises: SettingsError.
        """
        self._settings = load_settings(OperatorSettings, environ)
        self._watcher = Watcher(self._settings)
        openings, wrong = openings_of(environ)
        if is_about_it and wrong:
            raise next(iter(wrong.values()))
        self._stores = {service: opening for service, opening in openings.items() if self._settings.places.get(service)}
        self.waits: dict[Service, Counter[Waiting]] = {service: Counter() for service in self._stores}
        self.unseen: dict[Service, str] = {
            service: str(wrong.get(service, _NO_LOGIN[service]))
            for service, places in self._settings.places.items()
            if places and service not in self._stores
        }
        """Why what transactions do in a store can't be seen, or is no longer looked at."""

    async def beside(self, looking: Callable[[], Awaitable[T]]) -> T:
        """Sample what transactions do in each store, for as long as the looking lasts. Returns: what that does."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.sample(each), name=f"sample {each}") for each in self._stores]
            try:
                return await looking()
            finally:
                for task in tasks:
                    task.cancel()

    async def look(self) -> Look:
        """Look at everything once; what can't be asked is in the answer, and raises nothing."""
        picture, pressure = await asyncio.gather(self._watcher.look(), asyncio.to_thread(pressure_of, self._settings))
        waits = {service: dict(counted) for service, counted in self.waits.items()}
        return Look(time.monotonic(), slim(picture), waits, pressure)

    async def sample(self, service: Service) -> None:
        """Count what transactions do in a store, again and again; end if waiting does not help."""
        while True:
            try:
                async with self._stores[service]() as activity:
                    while True:
                        self.waits[service].update(await activity.look())
                        self._note(service, activity.unseen)
                        await asyncio.sleep(_SAMPLING)
            except Exception as error:  # noqa: BLE001  (whatever it is, the looks go on without)
                self._note(service, _in_words(error))
                # A login that is refused again and again locks the service out, if it has the same.
                if not _is_lost(error):
                    return
            await asyncio.sleep(_AGAIN)

    def _note(self, service: Service, unseen: str) -> None:
        if unseen:
            self.unseen[service] = unseen
        else:
            self.unseen.pop(service, None)


def _in_words(error: Exception) -> str:
    if isinstance(error, StoreUnavailable):
        return error.alarm or str(error)
    return str(error) if isinstance(error, SpindleError) else redact(f"{type(error).__name__}: {error}")


def _is_lost(error: Exception) -> bool:
    """Whether nothing but the connection is missing, so that it may be there again in a moment."""
    return isinstance(error, WriteConflict) or (isinstance(error, StoreUnavailable) and not error.alarm)


Opening = Callable[[], AbstractAsyncContextManager[Activity]]


def openings_of(environ: Mapping[str, str]) -> tuple[dict[Service, Opening], dict[Service, SettingsError]]:
    """How to look into each store, as far as there is a login: the services' may be theirs alone. And what is wrong."""
    openings: dict[Service, Opening] = {}
    wrong: dict[Service, SettingsError] = {}
    try:
        postgres = load_settings(PostgresSettings, environ)
        if "dsn" in postgres.model_fields_set or postgres.password.get_secret_value():
            openings[Service.TABLEINATOR] = lambda: table_activity.open_activity(postgres)
    except SettingsError as error:
        wrong[Service.TABLEINATOR] = error
    try:
        neo4j = load_settings(Neo4jSettings, environ)
        if neo4j.auth is not None:
            openings[Service.GRAPHINATOR] = lambda: graph_activity.open_activity(neo4j)
    except SettingsError as error:
        wrong[Service.GRAPHINATOR] = error
    return openings, wrong


def pressure_of(settings: OperatorSettings) -> Pressure:
    """What the management API says of memory and flow control, as far as this login may ask; blocks."""
    management = Management.of(settings)
    memory, flow, blocked, trouble = None, None, None, ""
    try:
        nodes = management.nodes()
        shares = [node["mem_used"] / node["mem_limit"] for node in nodes if node.get("mem_limit")]
        memory, blocked = max(shares, default=None), any(node.get(alarm) for node in nodes for alarm in ALARMS)
    except NoManagement as error:
        trouble = str(error)
    try:
        flow = "flow" in management.publisher_states()
    except NoManagement as error:
        trouble = trouble or str(error)
    return Pressure(memory, flow, blocked, trouble)


async def watch(
    environ: Mapping[str, str],
    seconds: float,
    on_done: Callable[[str, int, int], None],
) -> Window:
    """Look again and again for so many seconds; at least twice.

    Raises: SettingsError.
    """
    observer, begun, began = Observer(environ, is_about_it=True), time.monotonic(), datetime.now(UTC)
    looks = Looks()

    async def look() -> None:
        while len(looks.kept) < 2 or looks.kept[-1].at - looks.kept[0].at < seconds:
            if looks.kept:
                await asyncio.sleep(pause_before(looks, looks.kept[0].at + seconds - time.monotonic()))
            looks.add(await observer.look())
            on_done("watching", min(round(seconds), round(time.monotonic() - begun)), round(seconds))

    await observer.beside(look)
    return Window(looks.kept, began, "the services, RabbitMQ and the stores, asked directly", observer.unseen)


class Looks:
    """The looks that are kept: evenly spread over all of the time, however long that is."""

    def __init__(self) -> None:
        self.kept: list[Look] = []
        self.interval = INTERVAL

    def add(self, look: Look) -> None:
        """Keep one more."""
        self.kept.append(look)
        if len(self.kept) > MOST:
            self.kept = [*self.kept[:-1:2], self.kept[-1]]
            self.interval *= 2


def pause_before(looks: Looks, left: float) -> float:
    """Seconds until the next look, of so many that are left: the last two are not nearer to each other than others.

    From one look to another right behind it counters tell nothing: they have moved by a whole transaction, or by none.
    """
    return max(0.0, left if left < 1.5 * looks.interval else looks.interval)


class Recorder:
    """Watches in a thread of its own, from its entry to its exit: what goes on meanwhile is not its business."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Raises: SettingsError."""
        self._observer = Observer(environ)
        self._looks = Looks()
        self._began = datetime.now(UTC)
        self._ended = threading.Event()
        self.trouble = ""
        """Why it ended early; empty if it did not."""
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def __enter__(self) -> Self:
        self._began = datetime.now(UTC)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(_ENDING)

    @property
    def lacking(self) -> str:
        """Why there is no window, as the rest of a sentence."""
        looks = list(self._looks.kept)
        replicas = [replica for look in looks[-1:] for state in look.picture.services for replica in state.replicas]
        if not looks or any(replica.answers for replica in replicas):
            return "it ended before the services had been looked at twice"
        if not replicas:
            return "STATUS_GRAPHINATOR and STATUS_TABLEINATOR say that there is no service to ask"
        places = ", ".join(each.address for each in replicas)
        reasons = "; ".join(dict.fromkeys(reason for each in replicas for reason in each.trouble))
        return f"no service answered at {places}: {reasons}; STATUS_GRAPHINATOR and STATUS_TABLEINATOR say where to ask"

    @property
    def window(self) -> Window | None:
        """What was seen; None if that is less than two looks, or if no service answered."""
        looks: Sequence[Look] = list(self._looks.kept)
        services = [state for look in looks for state in look.picture.services]
        if len(looks) < 2 or not any(replica.answers for state in services for replica in state.replicas):
            return None
        return Window(looks, self._began, "seen by spindle load", dict(self._observer.unseen))

    def _run(self) -> None:
        try:
            asyncio.run(self._observer.beside(self._look))
        except Exception as error:  # noqa: BLE001  (what it watches goes on, whatever this is)
            first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            self.trouble = f"{type(first).__name__}: {first}"

    async def _look(self) -> None:
        while True:
            self._looks.add(await self._observer.look())
            if self._ended.is_set():
                return
            await asyncio.to_thread(self._ended.wait, self._looks.interval)
