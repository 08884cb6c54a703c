"""A disk that can be filled: PostgreSQL's tables on a small file system of their own where one may be mounted.

Mounting needs root. Without it a trigger on each table says what a full disk says (53100).
"""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from common.kinds import KINDS
from tests.integration import tables
from tests.servers.native import OwnPostgres

_SIZE = 384 * 2**20
"""Bytes: of a run with as many bad records as good ones, each attempt leaves rows behind that were rolled back."""
_SPACE = "chaos_disk"


class Disk:
    """A disk of PostgreSQL's that is real, or pretended by triggers."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @property
    def what(self) -> str:
        """What filling it means, for the result."""
        return "tmpfs" if self._folder else "trigger"

    @property
    def tablespace(self) -> str:
        """What puts a database there."""
        return f" TABLESPACE {_SPACE}" if self._folder else ""

    @property
    def tablespace_folder(self) -> Path | None:
        """Where that is; None if the tables are where all else is."""
        return self._folder / "space" if self._folder else None

    async def fill(self, dsn: str) -> None:
        """Leave no room for the tables of this database."""
        if self._folder:
            await asyncio.to_thread(self._fill)
            return
        await tables.run(
            dsn,
            "CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$",
            *(
                f"CREATE TRIGGER disk_full BEFORE INSERT OR UPDATE ON {kind} EXECUTE FUNCTION disk_full()"
                for kind in KINDS
            ),
        )

    async def empty(self, dsn: str) -> None:
        """Give the room back."""
        if self._folder:
            (self._folder / "filler").unlink(missing_ok=True)
        else:
            await tables.run(dsn, "DROP FUNCTION IF EXISTS disk_full CASCADE")

    def _fill(self) -> None:
        assert self._folder
        with (self._folder / "filler").open("wb") as filler:
            at = 0
            for piece in (2**20, 2**16, 2**12):  # PostgreSQL takes pages meanwhile: what is free is not known
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(filler.fileno(), at, piece)
                        at += piece


@asynccontextmanager
async def small_disk(postgres: OwnPostgres) -> AsyncIterator[Disk]:
    """Mount the disk for as long as the block lasts, if that is allowed here."""
    folder = postgres.member.place.folder / "small-disk"
    if not await asyncio.to_thread(_mount, folder):
        yield Disk(None)
        return
    try:
        space = folder / "space"
        owner = postgres.member.place.folder.stat()
        space.mkdir(mode=0o700)
        os.chown(space, owner.st_uid, owner.st_gid)
        await tables.run(postgres.dsn, f"CREATE TABLESPACE {_SPACE} LOCATION '{space}'")
        try:
            yield Disk(folder)
        finally:
            await tables.run(postgres.dsn, f"DROP TABLESPACE {_SPACE}")
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", str(folder)], timeout=30.0, check=True)
        folder.rmdir()


def _mount(folder: Path) -> bool:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=711", "spindle-chaos", str(folder)],
        capture_output=True,
        timeout=30.0,
        check=False,
    )
    return done.returncode == 0
