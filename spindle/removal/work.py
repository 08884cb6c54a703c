"""Find out what would be removed and whether it may be; remove it; bring it back."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from common.errors import StartRefused
from common.kinds import Service
from common.loads import Load, Removed
from common.rabbitmq.publishing.publisher import Outgoing, Publisher
from common.rabbitmq.topology import queue_lengths
from common.settings.environment import load as load_settings
from extractor.control import headers
from extractor.settings import ExtractorSettings
from graphinator.ops import identities as graph_identities
from graphinator.ops import ledger as graph_ledger
from graphinator.ops.newest_load import newest_load as newest_in_graph
from graphinator.ops.removal import AT_A_TIME as NODES_AT_A_TIME
from graphinator.ops.removal import GraphRemoval
from graphinator.store import open_driver
from graphinator.transactions import Transactions
from spindle.checking.classes import Class
from spindle.checking.dead import SERVICES, dead_letters_of
from spindle.checking.diff import Subject, read_result
from spindle.checking.manifests import ManifestSource, loads_in
from spindle.dead_letters.policies import limits_of_letters
from spindle.management import LATE, Management, NoManagement
from spindle.progress import OnDone
from spindle.removal.login import neo4j_of, postgres_of
from spindle.removal.preconditions import Facts
from spindle.settings import OperatorSettings
from tableinator.connections import Connections
from tableinator.ops import identities as table_identities
from tableinator.ops import ledger as table_ledger
from tableinator.ops.newest_load import newest_load as newest_in_tables
from tableinator.ops.removal import AT_A_TIME as ROWS_AT_A_TIME
from tableinator.ops.removal import TableRemoval

ORDER: Final = ("releases", "masters", "labels", "artists")
"""What names others goes before what it names, so that few stubs are made that go again."""

AT_A_TIME: Final = {"postgresql": ROWS_AT_A_TIME, "neo4j": NODES_AT_A_TIME}


class Remover(Protocol):
    """A store, as far as a removal needs it."""

    async def remove(self, kind: str, load: str, ids: Sequence[str]) -> int:
        """Remove those of these ids that no later load has stored."""

    async def prune(self, kind: str) -> None:
        """Forget what was removed long ago."""


@dataclass(frozen=True, slots=True)
class Removal:
    """One command's work. `folder`: where manifests and diff files lie."""

    environ: Mapping[str, str]
    folder: Path
    load: str
    stores: tuple[str, ...]

    async def facts(self, sources: Sequence[ManifestSource]) -> list[Facts]:
        """Everything that the preconditions are about, in the order of the removal; nothing is changed.

        Raises: StoreUnavailable, BrokerUnavailable, StartRefused.
        """
        by_kind = {source.kind: source for source in sources}
        ledgers = {store: await self._ledger(store) for store in self.stores}
        newest_manifest = max(loads_in(self.folder), default="")
        return [
            await self._facts(by_kind[kind], store, ledgers[store], newest_manifest)
            for kind in ORDER
            if kind in by_kind
            for store in self.stores
        ]

    async def remove(self, facts: Sequence[Facts], on_done: OnDone) -> dict[tuple[str, str], int]:
        """Remove what the checks call gone. Returns: by kind and store, how many that were.

        Raises: a SinkError, StartRefused; what is not done then, running it again does.
        """
        removed: dict[tuple[str, str], int] = {}
        for fact in facts:
            assert fact.result is not None  # noqa: S101 (for mypy: a precondition)
            async with self._remover(fact.store) as remover:
                began, count = time.monotonic(), 0
                for ids in _batches(fact.result.ids(Class.GONE), AT_A_TIME[fact.store]):
                    count += await remover.remove(fact.kind, self.load, ids)
                    on_done(f"{fact.kind} {fact.store}: removing", count, fact.gone)
                if count:
                    await self._record(fact.store, fact.kind, count, time.monotonic() - began)
                    await remover.prune(fact.kind)
            removed[fact.kind, fact.store] = count
        return removed

    async def undo(self, kinds: Sequence[str]) -> dict[tuple[str, str], int]:
        """Bring back what a removal took: to the graph at once, to the tables by their service's queue.

        Returns: by kind and store, how many that were.
        Raises: a SinkError, PublishFailed, StartRefused; what is not done then, running it again does.
        """
        restored: dict[tuple[str, str], int] = {}
        for kind in reversed(ORDER):
            for store in self.stores if kind in kinds else ():
                count = await (self._publish(kind) if store == "postgresql" else self._restore(kind))
                if count:
                    await self._record(store, kind, -count, None)
                restored[kind, store] = count
        return restored

    async def _restore(self, kind: str) -> int:
        async with self._graph() as remover:
            return await remover.restore(kind, self.load)

    async def _publish(self, kind: str) -> int:
        settings = load_settings(ExtractorSettings, self.environ)
        queue = settings.names.queue(Service.TABLEINATOR, kind)
        if (await queue_lengths(settings.broker, [queue]))[queue] is None:
            raise StartRefused(f"{queue} does not exist: start tableinator first.")
        async with (
            self._tables() as remover,
            Publisher(
                settings.broker,
                max_unconfirmed=settings.extractor_max_unconfirmed,
                name="spindle remove",
                patience=settings.extractor_confirm_timeout,
            ) as publisher,
        ):
            async for rows in remover.archived(kind, self.load, 500):
                now = time.time_ns() // 1_000_000
                messages = [
                    Outgoing(row.body, f"{kind}:{row.id}", headers(row.version, now) if row.version else {})
                    for row in rows
                ]
                await publisher.publish("", messages, key=queue)
            await publisher.flush()
            return publisher.confirmed

    async def _facts(self, source: ManifestSource, store: str, ledger: Sequence[Load], newest_manifest: str) -> Facts:
        kind, settings = source.kind, load_settings(OperatorSettings, self.environ)
        result, problem = None, ""
        try:
            server = await self._server(store, kind)
            result = read_result(self.folder, Subject(self.load, kind, store, source.digest, server))
        except StartRefused as error:
            problem = str(error)
        letters = await dead_letters_of(
            settings.broker,
            settings.names,
            store=store,
            kind=kind,
            load=self.load,
            limits=await limits_of_letters(self.environ),
        )
        waiting, untold = await self._waiting(settings, settings.names.queue(SERVICES[store], kind))
        return Facts(
            header=source.header,
            result=result,
            problem=problem,
            ledger=[load for load in ledger if load.kind == kind],
            newest_stored=await self._newest(store, kind),
            newest_manifest=newest_manifest,
            waiting=waiting,
            untold=untold,
            older_letters=letters.older,
            store=store,
            kind=kind,
        )

    async def _waiting(self, settings: OperatorSettings, queue: str) -> tuple[int | None, str]:
        """Messages that are ready or unanswered; only the management API tells of the latter, some seconds late."""
        management, deadline = Management.of(settings), time.monotonic() + LATE
        while True:
            try:
                queues = await asyncio.to_thread(management.queues, settings.discogs_exchange_prefix)
            except NoManagement as error:
                return None, str(error)
            if queue not in queues:
                return None, f"{queue} does not exist"
            told = queues[queue]
            waiting = int(told.get("messages_ready", 0)) + int(told.get("messages_unacknowledged", 0))
            if not waiting or time.monotonic() > deadline:
                return waiting, ""
            await asyncio.sleep(1.0)

    async def _server(self, store: str, kind: str) -> str:
        if store == "postgresql":
            async with table_identities.open_identities(postgres_of(self.environ)) as rows:
                return (await rows.who(kind))[0]
        async with graph_identities.open_identities(neo4j_of(self.environ)) as nodes:
            return (await nodes.who(kind))[0]

    async def _newest(self, store: str, kind: str) -> str | None:
        if store == "postgresql":
            return await newest_in_tables(postgres_of(self.environ), [kind])
        return await newest_in_graph(neo4j_of(self.environ), [kind])

    async def _ledger(self, store: str) -> Sequence[Load]:
        if store == "postgresql":
            return await table_ledger.read_loads(postgres_of(self.environ))
        return await graph_ledger.read_loads(neo4j_of(self.environ))

    async def _record(self, store: str, kind: str, count: int, seconds: float | None) -> None:
        removed = Removed(load=self.load, kind=kind, removed=count, seconds=seconds)
        if store == "postgresql":
            await table_ledger.record_removal(postgres_of(self.environ), removed)
        else:
            await graph_ledger.record_removal(neo4j_of(self.environ), removed)

    @asynccontextmanager
    async def _remover(self, store: str) -> AsyncIterator[Remover]:
        async with AsyncExitStack() as stack:
            if store == "postgresql":
                yield await stack.enter_async_context(self._tables())
            else:
                yield await stack.enter_async_context(self._graph())

    @asynccontextmanager
    async def _tables(self) -> AsyncIterator[TableRemoval]:
        settings = postgres_of(self.environ)
        async with Connections(settings, size=1) as connections:
            yield TableRemoval(connections, settings)

    @asynccontextmanager
    async def _graph(self) -> AsyncIterator[GraphRemoval]:
        settings = neo4j_of(self.environ)
        async with open_driver(settings) as driver:
            yield GraphRemoval(
                Transactions(
                    driver,
                    database=settings.database,
                    connect_timeout=settings.connect_timeout,
                    transaction_timeout=settings.transaction_timeout,
                )
            )


def _batches(ids: Iterator[int], size: int) -> Iterator[list[str]]:
    while batch := [str(number) for number in islice(ids, size)]:
        yield batch
