"""PostgreSQL for the tests of tableinator: a schema of each test's own, reached by search_path in the DSN."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from pydantic import SecretStr

from tableinator.model import Row
from tableinator.settings import PostgresSettings, TableinatorSettings

RIGHTS = (
    "SELECT, INSERT, UPDATE ON artists",
    "SELECT, INSERT, UPDATE ON spindle_loads, spindle_progress, spindle_errors",
    "INSERT ON spindle_events",
    "SELECT ON spindle_pauses",
)
"""What a login needs that writes artists."""

KINDS = ("artists", "labels", "masters", "releases")


@asynccontextmanager
async def own_schema(dsn: str) -> AsyncIterator[str]:
    """A fresh schema, dropped afterwards; gives a DSN in which it is the only one."""
    name = f"test_{secrets.token_hex(6)}"
    await run(dsn, f"CREATE SCHEMA {name}")
    try:
        yield with_parameter(dsn, f"search_path={name}")
    finally:
        await run(dsn, f"DROP SCHEMA IF EXISTS {name} CASCADE")


def with_parameter(dsn: str, parameter: str) -> str:
    """The DSN with one more parameter."""
    return f"{dsn}{'&' if '?' in dsn else '?'}{parameter}"


def at(dsn: str, *, port: int | None = None, host: str = "127.0.0.1", login: str | None = None) -> str:
    """The DSN, pointing elsewhere, or with another `user:password`."""
    parts = urlsplit(dsn)
    old_login, _, address = parts.netloc.rpartition("@")
    address = f"{host}:{port}" if port is not None else address
    return urlunsplit(parts._replace(netloc=f"{login or old_login}@{address}"))


def settings(dsn: str, *, kinds: tuple[str, ...] = ("artists",), **postgres: Any) -> TableinatorSettings:
    """Settings for a store at this DSN."""
    return TableinatorSettings(kinds=kinds, postgres=PostgresSettings(dsn=SecretStr(dsn), **postgres))


async def run(dsn: str, *statements: str) -> None:
    """Run statements past the service."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close(timeout=30)


async def fetch(dsn: str, statement: str, *arguments: Any) -> list[asyncpg.Record]:
    """Ask the database past the service."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
        return rows
    finally:
        await connection.close(timeout=30)


def row(record_id: str, body: bytes = b'{"a": 1}', *, version: str | None = "20250201", sha: str | None = None) -> Row:
    """A row whose hash follows from its body."""
    return Row(record_id, str(hash(body)) if sha is None else sha, version, body)


def slowed_by(statement: str, *, each: str = "STATEMENT") -> tuple[str, str]:
    """What has PostgreSQL do this before it stores a batch of releases, or `each` ROW of one."""
    return (
        f"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM {statement}; RETURN NEW; END'",
        f"CREATE TRIGGER slow BEFORE INSERT ON releases FOR EACH {each} EXECUTE FUNCTION slow()",
    )


async def wait_until_blocked(dsn: str, count: int = 1) -> None:
    """Wait until so many sessions of the service or the operator in this database wait for a lock."""
    query = """SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
        AND application_name IN ('tableinator', 'spindle')"""
    async with asyncio.timeout(30):
        while (await fetch(dsn, query))[0]["count"] < count:
            await asyncio.sleep(0.02)  # what is waited for happens in another process, which tells nobody
