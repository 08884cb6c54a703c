"""PostgreSQL as the arms find it: the table made again, filled, followed during a race, compared afterwards."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from bench.arms import WrongStore
from extractor.message import Message
from tableinator.tables import creation

TABLE = "releases"
COLUMNS = ("data_id", "hash", "data", "version")
_SAMPLES = 40  # rows whose content is compared too; of the others the hash
_LIMIT = 120.0
_SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_PLAIN = f"""CREATE TABLE {TABLE} (data_id text PRIMARY KEY, hash text NOT NULL, data jsonb NOT NULL, version text,
    updated_at timestamptz NOT NULL DEFAULT now())"""


class Tables:
    """One connection of the bench's own, beside those of the arm."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, dsn: str) -> "Tables":
        """Connect."""
        return cls(await asyncpg.connect(dsn, timeout=10, command_timeout=_LIMIT))

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close(timeout=5)

    async def make(self, *kinds: str, lz4: bool = True) -> None:
        """Have tables empty, by default the one: as tableinator makes them, or as a plain CREATE TABLE leaves it."""
        for kind in kinds or [TABLE]:
            await self._connection.execute(f"DROP TABLE IF EXISTS {kind}")
            await self._connection.execute(creation(kind, lz4=True) if lz4 else _PLAIN)
        await self.settle()

    async def make_in_parts(self, parts: int) -> None:
        """Have the one table empty, in so many parts by the hash of the id; none: in one piece.

        Without lz4, which not every build of PostgreSQL 18 has.
        """
        whole = creation(TABLE, lz4=False)
        columns = whole.partition(" WITH ")[0]
        await self._connection.execute(f"DROP TABLE IF EXISTS {TABLE}")
        await self._connection.execute(f"{columns} PARTITION BY HASH (data_id)" if parts else whole)
        for number in range(parts):
            await self._connection.execute(
                f"CREATE TABLE {TABLE}_{number} PARTITION OF {TABLE} FOR VALUES WITH (MODULUS {parts}, "
                f"REMAINDER {number}) WITH (toast_tuple_target = 8160)"
            )
        await self.settle()

    async def fill(self, binary: Path, *, without: Iterable[Message] = ()) -> None:
        """Copy a file of `write_binary` into the table, except for these."""
        await self._connection.copy_to_table(TABLE, source=binary, columns=COLUMNS, format="binary")
        await self._connection.execute(
            f"DELETE FROM {TABLE} WHERE data_id = ANY($1)", [message.id for message in without]
        )
        await self._connection.execute(f"VACUUM ANALYZE {TABLE}")
        await self.settle()

    async def settle(self) -> None:
        """Have what was written behind us: no arm pays for the pages of the one before it."""
        await self._connection.execute("CHECKPOINT")

    async def count(self, *kinds: str) -> int:
        """How many rows there are, by default in the one table."""
        counts = [await self._connection.fetchval(f"SELECT count(*) FROM {kind}") for kind in kinds or [TABLE]]
        return sum(counts)

    async def has(self, message: Message) -> bool:
        """Whether this version of a record is stored. A table that is not there yet holds nothing."""
        found = f"SELECT true FROM {TABLE} WHERE data_id = $1 AND hash = $2"
        return bool(await self._connection.fetchval(found, message.id, message.sha256))

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        """Ask anything."""
        rows: list[Any] = await self._connection.fetch(statement, *arguments)
        return rows

    async def compare(self, expected: Sequence[Message]) -> None:
        """See that the table holds these records and no others. Raises: WrongStore."""
        stored = {row[0]: row[1] for row in await self.fetch(f"SELECT data_id, hash FROM {TABLE}")}
        wanted = {message.id: message.sha256 for message in expected}
        if stored != wanted:
            raise WrongStore(_difference(stored, wanted))
        sample = expected[:: max(1, len(expected) // _SAMPLES)]
        for message in sample:
            equal = f"SELECT data = $2::jsonb FROM {TABLE} WHERE data_id = $1"
            if not await self._connection.fetchval(equal, message.id, message.body.decode()):
                raise WrongStore(f"the content of {message.id} is not what was published")


class TableCourse:
    """A race of a table consumer. It starts when the record at `start` is stored and ends with the last.

    `counted`: every record makes a row, so that start and finish are exact; else the records at both marks have to do,
    which are new or changed among others that leave no trace.
    """

    def __init__(self, tables: Tables, messages: Sequence[Message], *, start: int, counted: bool = True) -> None:
        self._tables, self._messages, self._start, self._counted = tables, messages, start, counted

    @property
    def records(self) -> int:
        """How many there are."""
        return len(self._messages)

    async def passed_start(self) -> int | None:
        """How many rows there are once the first mark is stored."""
        if not await self._tables.has(self._messages[self._start]):
            return None
        return await self._tables.count() if self._counted else self._start + 1

    async def passed_finish(self) -> bool | None:
        """True once the last one is stored, and all others."""
        if not await self._tables.has(self._messages[-1]):
            return None
        return True if not self._counted or await self._tables.count() >= len(self._messages) else None


def _difference(stored: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    missing, surplus = wanted.keys() - stored.keys(), stored.keys() - wanted.keys()
    other = [each for each in wanted.keys() & stored.keys() if stored[each] != wanted[each]]
    return f"{len(missing)} of {len(wanted)} records are missing, {len(surplus)} too many, {len(other)} differ"


def write_binary(path: Path, messages: Iterable[Message], *, load: str) -> None:
    """Write records as a file for COPY … WITH (FORMAT binary)."""
    version = load.encode()
    with path.open("wb") as file:
        file.write(_SIGNATURE)
        for message in messages:
            # jsonb's binary form is a 1, then the text.
            values = (message.id.encode(), message.sha256.encode(), b"\x01" + message.body, version)
            file.write(struct.pack(">h", len(values)))
            for value in values:
                file.write(struct.pack(">i", len(value)) + value)
        file.write(struct.pack(">h", -1))


def write_text(path: Path, messages: Iterable[Message], *, load: str) -> None:
    """Write records as a file for COPY in text form. JSON has neither tabs nor line ends, but backslashes."""
    with path.open("wb") as file:
        for message in messages:
            body = message.body.replace(b"\\", b"\\\\")
            file.write(b"\t".join((message.id.encode(), message.sha256.encode(), body, load.encode())) + b"\n")
