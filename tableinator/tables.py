"""The tables as data: what they are made of, the statement that makes one, and what is wrong with a found one. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from common.kinds import KINDS


@dataclass(frozen=True, slots=True)
class Column:
    """One column of every kind's table. `types`: those that serve, as format_type() names them; ours is the first."""

    name: str
    types: tuple[str, ...]
    constraint: str

    @property
    def required(self) -> bool:
        """Whether nulls are kept out; the driver's look-up relies on it for ids and hashes."""
        return "not null" in self.constraint or "primary key" in self.constraint


_TEXT: Final = ("text", "character varying")

COLUMNS: Final = (
    Column("data_id", _TEXT, "primary key"),
    Column("hash", _TEXT, "not null"),
    Column("data", ("jsonb",), "not null"),
    Column("version", _TEXT, ""),
    Column("updated_at", ("timestamp with time zone",), "not null default now()"),
)

PRIVILEGES: Final = ("SELECT", "INSERT", "UPDATE")

GRANTS: Final = "deploy/grants/postgresql.sql"
"""The least privileges of each login, as they are shipped."""


@dataclass(frozen=True, slots=True)
class FoundColumn:
    """A column as the server describes it. `filled`: it has a default, or is generated."""

    type: str
    required: bool
    filled: bool


@dataclass(frozen=True, slots=True)
class FoundTable:
    """What the server has under a kind's name. `ordinary`: no view and no foreign table."""

    ordinary: bool
    unique_id: bool
    privileges: frozenset[str]
    columns: Mapping[str, FoundColumn]
    is_untold: bool = False
    """Whether it is partitioned on a server that can't tell which rows of an upsert were new: before 18."""
    fleeting: tuple[str, ...] = ()
    """Itself or those parts of it that are unlogged, which a crash of the server empties, or temporary."""
    is_secured: bool = False
    """Whether row-level security hides rows from this user."""
    is_ruled: bool = False


def creation(kind: str, *, lz4: bool) -> str:
    """The statement that makes a kind's table.

    Documents are mostly larger than the 2 kB above which a row is compressed. lz4 writes 1.4 to 1.6 times the rows per
    second of the default; if the server lacks it, rows are left uncompressed as long as they fit a page.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is not a kind; there are {', '.join(KINDS)}")
    columns = ", ".join(_definition(column, lz4=lz4) for column in COLUMNS)
    storage = "" if lz4 else " WITH (toast_tuple_target = 8160)"
    return f"CREATE TABLE IF NOT EXISTS {kind} ({columns}){storage}"


def how_to_create(statements: Iterable[str]) -> str:
    """What to do if this user may not create tables: the end of a sentence."""
    return (
        f"as one who may, run {'; '.join(statements)}; and grant this user {', '.join(PRIVILEGES)} on them: {GRANTS}."
    )


def encoding_problem(encoding: str) -> str | None:
    """What is wrong with a database's encoding; None if every record's text fits."""
    if encoding == "UTF8":
        return None
    return (
        f"its encoding is {encoding}, which does not hold every text; allowed is UTF8: make another with "
        "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name it in POSTGRES_DATABASE"
    )


def differences(kind: str, found: FoundTable) -> list[str]:
    """What makes a found table unusable, a sentence each, with the statement that fixes it if there is one."""
    if not found.ordinary:
        return [f"{kind} is not an ordinary table"]
    if found.is_untold:
        return [f"{kind} is partitioned, which takes PostgreSQL 18 or newer"]
    problems = [problem for column in COLUMNS for problem in _differs(kind, column, found.columns.get(column.name))]
    problems += _surplus(found.columns)
    problems += unkept(kind, found)
    if not found.unique_id and "data_id" in found.columns:
        problems.append(f"data_id is not unique; ALTER TABLE {kind} ADD PRIMARY KEY (data_id)")
    missing = [privilege for privilege in PRIVILEGES if privilege not in found.privileges]
    if missing:
        problems.append(
            f"this user lacks privileges; GRANT {', '.join(missing)} ON {kind} TO CURRENT_USER, as its owner; "
            f"{GRANTS} has what each login needs"
        )
    return problems


def unkept(table: str, found: FoundTable) -> Iterator[str]:
    """What keeps a table from keeping what is written to it, as `differences` says it; of the ledger's tables too."""
    for part in found.fleeting:
        yield f"a crash of the server empties {part}; ALTER TABLE {part} SET LOGGED"
    if found.is_secured:
        yield (
            "row-level security is on for this user, which hides and refuses rows, and COPY does not work with it; "
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY, or ALTER ROLE CURRENT_USER BYPASSRLS"
        )
    if found.is_ruled:
        yield "it has rules, which turn a write into something else; drop them (pg_rules has their names)"


def _definition(column: Column, *, lz4: bool) -> str:
    compression = "COMPRESSION lz4" if lz4 and column.name == "data" else ""
    return " ".join(part for part in (column.name, column.types[0], compression, column.constraint) if part)


def _differs(kind: str, column: Column, found: FoundColumn | None) -> Iterator[str]:
    if found is None:
        definition = _definition(column, lz4=False)
        yield f"column {column.name} is missing; ALTER TABLE {kind} ADD COLUMN {definition}"
    elif found.type not in column.types:
        yield f"column {column.name} is of type {found.type}, not {column.types[0]}"
    elif column.name == "updated_at" and found.required and not found.filled:
        yield f"column updated_at has no default; ALTER TABLE {kind} ALTER updated_at SET DEFAULT now()"
    elif found.required and not column.required:
        yield f"column {column.name} takes no null; ALTER TABLE {kind} ALTER {column.name} DROP NOT NULL"
    elif column.name == "hash" and not found.required:
        yield f"column hash takes null; ALTER TABLE {kind} ALTER hash SET NOT NULL"


def _surplus(columns: Mapping[str, FoundColumn]) -> Iterator[str]:
    """Columns of somebody else's are welcome as long as a row can be written without them."""
    ours = {column.name for column in COLUMNS}
    for name, column in columns.items():
        if name not in ours and column.required and not column.filled:
            yield f"column {name} is unknown, takes no null and has no default"
