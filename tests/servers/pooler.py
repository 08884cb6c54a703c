"""PgBouncer before a test's PostgreSQL: installed where that can be done, else the test is skipped with the reason."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from common.errors import SpindleError
from devstack.stack import ports
from devstack.stack.files import last_lines
from devstack.stack.installing import find_pgbouncer, install
from tests.integration.tables import at

_ACCOUNT = "nobody"  # it refuses to run as root


@contextmanager
def pooler(dsn: str, mode: str, *, logins: Mapping[str, str] | None = None, **settings: object) -> Iterator[str]:
    """Run one in this mode of pooling (`session`, `transaction`, `statement`). Gives: the DSN that leads through it.

    `logins`: users who may come, with the passwords by which they are logged in behind it; by default anybody may, and
    is the DSN's user there.
    """
    program = _program()
    port = ports.choose(["pooler"])["pooler"]
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    folder.chmod(0o711)
    log = folder / "log"
    file, users = folder / "pgbouncer.ini", folder / "users"
    if logins is not None:
        settings |= {"auth_type": "trust", "auth_file": users}
    file.write_text(_configuration(dsn, port, {"pool_mode": mode, **settings}, has_logins=logins is not None))
    users.write_text("".join(f'"{user}" "{password}"\n' for user, password in (logins or {}).items()))
    for each in (file, users):
        if os.geteuid() == 0:
            shutil.chown(each, _ACCOUNT)
        each.chmod(0o600)
    argv = [program, *(["-u", _ACCOUNT] if os.geteuid() == 0 else []), str(file)]
    with log.open("wb") as output, subprocess.Popen(argv, stdout=output, stderr=output) as process:
        try:
            _await(port, process, log)
            yield at(dsn, host=ports.LOOPBACK, port=port)
        finally:
            process.kill()
            process.wait(timeout=30)
            shutil.rmtree(folder, ignore_errors=True)


def _program() -> str:
    try:
        install({"pgbouncer"}, lambda _: None)
    except SpindleError as error:
        pytest.skip(f"no PgBouncer here: {error}")
    found = find_pgbouncer()
    assert found is not None
    return found


def _configuration(dsn: str, port: int, settings: dict[str, object], *, has_logins: bool) -> str:
    parts = urlsplit(dsn)
    login = f"user={unquote(parts.username or '')} password='{unquote(parts.password or '')}'"
    lines = {"listen_addr": ports.LOOPBACK, "listen_port": port, "unix_socket_dir": "", "auth_type": "any"}
    lines |= settings
    database = f"* = host={parts.hostname} port={parts.port or 5432} {'' if has_logins else login}"
    return "\n".join(
        ["[databases]", database, "[pgbouncer]", *(f"{name} = {value}" for name, value in lines.items()), ""]
    )


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30.0
    while not ports.is_listening(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"PgBouncer does not run: {last_lines(log)}")
        time.sleep(0.05)
