"""Publish each kind once, to each service exactly what its store lacks, and wait until the queues are empty."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from common.kinds import Service
from common.rabbitmq.publishing.publisher import Outgoing
from common.rabbitmq.topology import queue_lengths
from extractor.control import headers
from extractor.loads import Load
from extractor.message import Message
from extractor.publishing import publisher_of, reader_for
from extractor.queues import Backlog, share_of_backlog
from extractor.settings import ExtractorSettings
from extractor.tally import Awaited, Tally
from spindle.checking.classes import Class, number_of
from spindle.checking.dead import SERVICES
from spindle.checking.diff import Result
from spindle.checking.id_set import IdSet
from spindle.checking.manifests import ManifestSource, open_manifests
from spindle.checking.repair import as_listed, check_source, chunks, wanted_messages
from spindle.management import LATE, Management, NoManagement
from spindle.settings import OperatorSettings

_LOOK = 0.5
"""Seconds between two looks at the queues."""

STALLED = 300.0
"""Seconds in which nothing leaves the queues, after which waiting is given up: no service takes anything."""


class Wanted:
    """What each store lacks of a kind."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.found = IdSet()
        """Those that the load has, as the manifest lists them."""
        self.of = {result.subject.store: IdSet(result.ids(Class.LOST, Class.DIFFERENT)) for result in results}

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and any(number in ids for ids in self.of.values())

    def __len__(self) -> int:
        return sum(len(ids) for ids in self.of.values())

    def services(self, message: Message) -> list[Service]:
        """Whose stores lack this record."""
        number = number_of(message.id)
        return [SERVICES[store] for store, ids in self.of.items() if number is not None and number in ids]


@dataclass(frozen=True, slots=True)
class Missing:
    """What the stores lack of one kind, to be published by a process of its own."""

    kind: str
    load: Load
    settings: ExtractorSettings
    results: tuple[Result, ...]
    """Of each store."""

    @property
    def program(self) -> str:
        """Whose work it is."""
        return "spindle load"

    async def do(self, tally: Tally, tell: Callable[[str], None]) -> None:
        """Publish it. Raises: as `publish_wanted`; StartRefused if the manifest has gone meanwhile."""
        assert self.settings.state is not None  # noqa: S101 (for mypy: looked at by the command)
        with open_manifests(self.settings.state, self.load.date, [self.kind]) as [source]:
            await publish_wanted(self.load, source, Wanted(self.results), self.settings, tally, tell)


async def publish_wanted(
    load: Load,
    source: ManifestSource,
    wanted: Wanted,
    settings: ExtractorSettings,
    tally: Tally,
    tell: Callable[[str], None],
) -> None:
    """Publish to each service's queue what its store lacks, in the load's order; what was `sent` is in the tally.

    Raises: PublishFailed, QueueGone, StartRefused, Truncated, ParserEnded.
    """
    kind = source.kind
    check_source(load, source.header)
    tally.total = len(wanted)
    queues = {SERVICES[store]: settings.names.queue(SERVICES[store], kind) for store in wanted.of}
    name = f"spindle load {kind}"
    async with (
        publisher_of(settings, name=name) as publisher,
        Backlog(
            settings.broker, list(queues.values()), limit=share_of_backlog(settings, load.kinds), name=f"{name} backlog"
        ) as backlog,
        reader_for(load, kind, settings, tally) as reader,
    ):
        with tally.waiting(Awaited.BROKER):
            await backlog.length()  # raises if a queue is missing
        drawn = wanted_messages(load, kind, wanted, reader)
        for chunk in chunks(as_listed(drawn, source.prefix_of(), wanted.found)):
            with tally.waiting(Awaited.ROOM):
                await backlog.wait_for_room(lambda: tell("paused"))
            shared = headers(load.date, time.time_ns() // 1_000_000)
            for service, queue in queues.items():
                mine = [Outgoing(m.body, m.message_id, shared) for m in chunk if service in wanted.services(m)]
                with tally.waiting(Awaited.BROKER):
                    await publisher.publish("", mine, key=queue)
                tally.sent[service] = tally.sent.get(service, 0) + len(mine)
            tally.done, tally.published = sum(tally.sent.values()), publisher.confirmed
            tell("publishing")
            with tally.waiting(Awaited.PARSERS):
                await asyncio.sleep(0)
                await reader.wait()
        with tally.waiting(Awaited.BROKER):
            await publisher.flush()
        tally.published = publisher.confirmed
        tally.records = source.header.rows
        tally.unchanged = tally.records - len(wanted.found)
        with tally.waiting(Awaited.BROKER):
            await backlog.length()  # raises if one is gone, and with it what was confirmed


async def until_settled(
    operator: OperatorSettings,
    settings: ExtractorSettings,
    kinds: Sequence[str],
    on_done: Callable[[int], None],
    *,
    stalled: float,
) -> Mapping[str, int]:
    """Wait until services have settled what they have taken, as far as the management API knows: no queue shows that.

    Returns: what they hold, by queue, after `stalled` seconds in which it did not change; nothing if they hold nothing,
    if it has changed for twice as long (then it is others' traffic), or if that API can't be asked.
    """
    queues = [settings.names.queue(service, kind) for service in Service for kind in kinds]
    before, since = None, time.monotonic()
    deadline = since + 2 * stalled
    while time.monotonic() < deadline:
        try:
            told = await asyncio.to_thread(Management.of(operator).queues, settings.discogs_exchange_prefix)
        except NoManagement:
            return {}
        counts = {queue: int(told.get(queue, {}).get("messages_unacknowledged", 0)) for queue in queues}
        held = {queue: count for queue, count in counts.items() if count}
        on_done(sum(held.values()))
        if held != before:
            before, since = held, time.monotonic()
        if time.monotonic() - since > (stalled if held else LATE):
            return held
        await asyncio.sleep(2 * _LOOK)
    return {}


async def until_drained(
    settings: ExtractorSettings, kinds: Sequence[str], on_done: Callable[[int], None], *, stalled: float = STALLED
) -> Mapping[str, int]:
    """Wait until nothing waits in the services' queues, twice in a row: what was just sent arrives between the looks.

    Returns: what waits in which queue, after `stalled` seconds in which nothing left them; empty if they are.
    Raises: BrokerUnavailable, StartRefused.
    """
    queues = [settings.names.queue(service, kind) for service in Service for kind in kinds]
    empty, since = 0, time.monotonic()
    before: dict[str, int] = {}
    while empty < 2:
        lengths = {queue: length for queue, length in (await queue_lengths(settings.broker, queues)).items() if length}
        waiting = sum(lengths.values())
        on_done(waiting)
        if time.monotonic() - since > stalled:
            return lengths
        if any(lengths.get(queue, 0) < length for queue, length in before.items()):
            since = time.monotonic()
        before = lengths
        empty = 0 if waiting else empty + 1
        await asyncio.sleep(_LOOK)
    return {}
