"""PostgreSQL's own way to load a file: `psql \\copy` as a whole command, without queue or acknowledgement."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from bench.arms import Run, Watch
from bench.stage import Stage
from bench.tables import COLUMNS, TABLE, Tables, write_binary, write_text

_LIMIT = 300.0


class PsqlText:
    """Text into a table as CREATE TABLE leaves it: what anybody would do first."""

    name = "psql_text"
    options = ""
    lz4 = False

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._file = stage.folder / f"{self.name}.copy"
        self._client: asyncio.subprocess.Process | None = None

    async def prepare(self) -> None:
        """Have the file and an empty table."""
        if not self._file.exists():
            self.write(self._file)
        tables = await Tables.connect(self._stage.postgres_dsn)
        await tables.make(lz4=self.lz4)
        await tables.close()
        self._file.read_bytes()  # from the page cache in every round, not from the disk in the first

    def write(self, path: Path) -> None:
        """Make the file."""
        write_text(path, self._stage.releases, load=self._stage.load.date)

    async def run(self, watch: Watch) -> Run:
        """Run the command."""
        copy = f"\\copy {TABLE} ({', '.join(COLUMNS)}) from '{self._file}' {self.options}"
        address, password = without_password(self._stage.postgres_dsn)
        watch.start()
        self._client = await asyncio.create_subprocess_exec(
            "psql", "-q", "-X", "-d", address, "-c", copy, env={**os.environ, "PGPASSWORD": password}
        )
        async with asyncio.timeout(_LIMIT):
            code = await self._client.wait()
        watch.stop()
        if code:
            raise RuntimeError(f"psql ended with {code}")
        return Run(len(self._stage.releases))

    async def check(self) -> None:
        """Compare."""
        tables = await Tables.connect(self._stage.postgres_dsn)
        await tables.compare(self._stage.releases)
        await tables.close()

    def processes(self) -> Mapping[str, int]:
        """None that lives on: the command is over when its span is."""
        return {}

    async def end(self) -> None:
        """End the command if it still runs."""
        if self._client is not None and self._client.returncode is None:
            self._client.kill()
            await self._client.wait()


class PsqlBinary(PsqlText):
    """Binary into the table as tableinator makes it, with lz4: the most that one connection gets."""

    name = "psql_binary"
    options = "with (format binary)"
    lz4 = True

    def write(self, path: Path) -> None:
        """Make the file."""
        write_binary(path, self._stage.releases, load=self._stage.load.date)


def without_password(dsn: str) -> tuple[str, str]:
    """Take the password out of the address: everybody on the machine can read a command line."""
    parts = urlsplit(dsn)
    login, _, place = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    return urlunsplit(parts._replace(netloc=f"{user}@{place}")), password
