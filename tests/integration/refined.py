"""Raw tables with records in them, and what is refined from them."""

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from common.kinds import KINDS
from extractor.loads import Load, messages
from extractor.message import Message
from tableinator.model import Row
from tableinator.ops.refinement.refining import Refined, Refinement
from tableinator.settings import PostgresSettings
from tableinator.store import open_store
from tests.integration import tables


@dataclass
class Site:
    """Raw tables in a schema of the test's own, and the name of another for what is refined."""

    dsn: str
    schema: str

    @property
    def settings(self) -> PostgresSettings:
        """How to get there."""
        return tables.settings(self.dsn, kinds=KINDS).postgres

    async def make(self) -> None:
        """Have the raw tables, empty."""
        async with open_store(tables.settings(self.dsn, kinds=KINDS)):
            pass

    async def store(self, kind: str, found: Iterable[Message], *, load: str = "20260801") -> None:
        """Write messages through the service's sink; of one id the last, as the batcher would choose."""
        rows = {each.id: Row(each.id, each.sha256, load, each.body) for each in found}
        async with open_store(tables.settings(self.dsn, kinds=KINDS)) as store:
            await store.sink(kind).write(list(rows.values()))

    async def load(self, load: Load) -> None:
        """Write a whole load."""
        for kind in load.kinds:
            await self.store(kind, messages(load, kind), load=load.date)

    def work(self, *, workers: int = 2, per_range: int = 200) -> Refinement:
        """What refines."""
        return Refinement(self.settings, self.schema, workers=workers, per_range=per_range, on_done=lambda *_: None)

    async def refine(self, kinds: Iterable[str] = KINDS, **options: Any) -> dict[str, Refined]:
        """Refine, and say what was done with each kind."""
        async with self.work() as work:
            await work.prepare()
            return {kind: await work.refine(kind, **options) for kind in kinds}

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Ask; `discogs.` stands for the schema."""
        return await tables.fetch(self.dsn, statement.replace("discogs.", f"{self.schema}."), *arguments)

    async def content(self, names: Iterable[str]) -> dict[str, Counter[tuple[Any, ...]]]:
        """Every row of these tables."""
        connection = await asyncpg.connect(self.dsn, timeout=10)
        try:
            return {
                name: Counter(map(tuple, await connection.fetch(f"SELECT * FROM {self.schema}.{name}")))
                for name in names
            }
        finally:
            await connection.close(timeout=10)

    async def run(self, *statements: str) -> None:
        """Do something past the services."""
        await tables.run(self.dsn, *(statement.replace("discogs.", f"{self.schema}.") for statement in statements))


@asynccontextmanager
async def site_of(dsn: str) -> AsyncIterator[Site]:
    """Both schemas, dropped afterwards."""
    async with tables.own_schema(dsn) as own:
        # Without TLS: certificates of authorities are read for every connection else, a tenth of a second each.
        plain = own if "sslmode" in own else tables.with_parameter(own, "sslmode=disable")
        site = Site(plain, f"refined_{secrets.token_hex(6)}")
        await site.make()
        try:
            yield site
        finally:
            await tables.run(dsn, f"DROP SCHEMA IF EXISTS {site.schema} CASCADE")
