"""A standby of a test's own PostgreSQL, by streaming replication: made by pg_basebackup, promoted on demand."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from devstack.stack import ports
from devstack.stack.postgres import find_programs
from tests.integration.tables import at
from tests.servers.native import OwnPostgres

_ACCOUNT = "postgres" if os.geteuid() == 0 else None  # the server does not run as root


class Standby:
    """One standby; its database is that of the primary's DSN."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self._folder = folder
        self.dsn = dsn

    def start(self) -> None:
        """Run it, or run it again."""
        port = urlsplit(self.dsn).port
        options = (
            f"-c port={port} -c listen_addresses={ports.LOOPBACK} -c unix_socket_directories= -c cluster_name=standby"
        )
        _run("pg_ctl", "start", "-w", "-t", "60", "-D", self._data, "-l", self._log, "-o", options)

    def stop(self) -> None:
        """End it at once."""
        _run("pg_ctl", "stop", "-m", "immediate", "-D", self._data)

    def hand_over(self) -> None:
        """End it cleanly: whoever follows has everything then."""
        _run("pg_ctl", "stop", "-m", "fast", "-w", "-t", "60", "-D", self._data)

    def promote(self) -> None:
        """Make it a primary."""
        promote(self._folder / "data")

    @property
    def is_running(self) -> bool:
        """Whether it is."""
        return (self._folder / "data" / "postmaster.pid").exists()

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    @property
    def _log(self) -> str:
        return str(self._folder / "log")


def promote(data: Path) -> None:
    """Make a primary of the standby whose data these are."""
    _run("pg_ctl", "promote", "-w", "-t", "60", "-D", str(data))


@contextmanager
def standby_of(primary: OwnPostgres, *, tablespace: Path | None = None) -> Iterator[Standby]:
    """A standby that follows, on a port of its own. `tablespace`: the primary's, if it has one."""
    programs = find_programs()
    if programs is None or not (programs / "pg_basebackup").exists():
        pytest.skip("no pg_basebackup of this PostgreSQL: Maven brings the server alone")
    parts = urlsplit(primary.dsn)
    folder = primary.member.place.folder / "standby"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    if _ACCOUNT:
        shutil.chown(folder, _ACCOUNT, _ACCOUNT)
    login = f"user={unquote(parts.username or '')} password={unquote(parts.password or '')}"
    source = f"host={parts.hostname} port={parts.port} {login} application_name=standby"
    standby = Standby(folder, at(primary.dsn, host=ports.LOOPBACK, port=ports.choose(["sql"])["sql"]))
    elsewhere = ["-T", f"{tablespace}={folder / 'space'}"] if tablespace else []
    _run("pg_basebackup", "-D", str(folder / "data"), "-d", source, "-R", "-X", "stream", "-c", "fast", *elsewhere)
    try:
        standby.start()
        yield standby
    finally:
        if standby.is_running:
            standby.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _run(program: str, *arguments: str) -> None:
    folder = find_programs()
    assert folder is not None
    done = subprocess.run(
        [str(folder / program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # pg_ctl's server would keep a pipe open
        stderr=subprocess.DEVNULL,
        timeout=120,
        check=False,
        user=_ACCOUNT,
        cwd="/",
    )
    assert done.returncode == 0, f"{program} {arguments}: {done.returncode}"
