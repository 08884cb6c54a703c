"""PostgreSQL with a data folder of its own, by TCP on the loopback only, with a password."""

import hashlib
import os
import re
import shutil
import signal
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from common.errors import StartRefused
from devstack.stack.files import write_private
from devstack.stack.launching import Command, run_once
from devstack.stack.ports import LOOPBACK, answer
from devstack.stack.postgres_versions import asked_version, programs_folder
from devstack.stack.processes import ProcessRef, identify, wait_until_ended
from devstack.stack.recipe import Place, StackFailed

USER = "spindle"
DATABASE = "spindle"
_DEBIAN = Path("/usr/lib/postgresql")

_WORDS = f"user\0{USER}\0database\0{DATABASE}\0\0".encode()
_HELLO = struct.pack("!ii", 8 + len(_WORDS), 3 << 16) + _WORDS
"""How a client begins, in version 3.0 of the protocol."""


class PostgreSQL:
    """The recipe."""

    name = "postgres"
    ports = ("sql",)
    supervised = False
    patience = 60.0
    stop_signal = signal.SIGINT  # SIGTERM would wait for every client to leave

    def prepare(self, place: Place) -> None:
        """Create the cluster and its database, the first time."""
        _give_to_server(place.folder)
        self._check_reach(place)
        data = place.folder / "data"
        if (data / "PG_VERSION").exists():
            _forget_the_dead(place)
            return
        # A folder of its own until it is whole: an interrupted initdb leaves nothing that looks like a cluster.
        draft = place.folder / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        secret = place.folder / "password"
        write_private(secret, place.password)
        _give_to_server(secret)
        self._initialise(place, draft, secret)
        secret.unlink()
        draft.rename(data)

    def commands(self, place: Place) -> Sequence[Command]:
        """Return the server."""
        options = {
            "listen_addresses": LOOPBACK,
            "port": place.ports["sql"],
            "unix_socket_directories": "",  # a socket's path has little room, and TCP is what clients use
            "logging_collector": "off",
            "cluster_name": _cluster_name(place),  # in the title of each of its processes
        }
        argv = [_program("postgres"), "-D", str(place.folder / "data")]
        argv += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [self._command(place, "postgres", argv)]

    def is_ready(self, place: Place) -> bool:
        """Tell whether it asks for a password; while it starts or recovers it answers by an error."""
        return answer(place.ports["sql"], _HELLO, 1) == b"R"

    def _check_reach(self, place: Place) -> None:
        reached = run_once(self._command(place, "test", ["test", "-x", str(place.folder)]), timeout=10.0)
        if reached.returncode != 0:
            raise StartRefused(
                f"PostgreSQL does not run as root, and the account {_account()} can't reach {place.folder}: "
                "choose a --home that everybody may pass through, or leave it out"
            )

    def _initialise(self, place: Place, draft: Path, secret: Path) -> None:
        initdb = [_program("initdb"), "-D", str(draft), "-U", USER, f"--pwfile={secret}"]
        self._run(place, [*initdb, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"])
        single = [_program("postgres"), "--single", "-D", str(draft), "postgres"]  # needs neither port nor password
        self._run(place, single, given=f"CREATE DATABASE {DATABASE}\n")

    def _run(self, place: Place, argv: Sequence[str], given: str = "") -> None:
        done = run_once(self._command(place, "prepare", argv), given=given)
        if done.returncode != 0:
            raise StackFailed(f"postgres: {Path(argv[0]).name} failed:\n{done.stdout}{done.stderr}")

    def _command(self, place: Place, name: str, argv: Sequence[str]) -> Command:
        return Command(
            name=name,
            argv=argv,
            folder=place.folder,
            log=place.log(name),
            environment={"HOME": str(place.folder)},
            user=_account(),
        )


def dsn(place: Place, database: str = DATABASE) -> str:
    """Return the address for clients, password included."""
    return f"postgresql://{USER}:{place.password}@{LOOPBACK}:{place.ports['sql']}/{database}"


def find_programs() -> Path | None:
    """Return the folder of the programs: of the version that is asked for, else of the newest installed server.

    Raises: StartRefused for a version that there is not.
    """
    asked = asked_version()
    if asked is None:
        return installed_programs()
    folder = _DEBIAN / asked / "bin"
    if not (folder / "initdb").exists():
        folder = programs_folder(asked)
    return folder if folder.exists() else None


def installed_programs() -> Path | None:
    """Return the folder of the newest installed server's programs."""
    versions = [folder for folder in _DEBIAN.glob("*/bin") if (folder / "initdb").exists()]
    if versions:
        return max(versions, key=lambda folder: [int(part) for part in re.findall(r"\d+", folder.parent.name)])
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _program(name: str) -> str:
    folder = find_programs()
    if folder is None:
        raise StartRefused("PostgreSQL is not installed: initdb was found neither in /usr/lib/postgresql nor in PATH")
    return str(folder / name)


def _account() -> str | None:
    """Return the account that the server needs: it refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else None


def _give_to_server(path: Path) -> None:
    account = _account()
    if account is not None:
        shutil.chown(path, account, account)


def _forget_the_dead(place: Place) -> None:
    """Clear the way for a server whose predecessor was killed.

    Its children notice that within moments. Its lock file counts as held for as long as its process id exists, even
    as a zombie, which in a container without an init process is forever.
    """
    left = [ref for process in psutil.process_iter() if (ref := _recognise(process, _cluster_name(place))) is not None]
    if all(wait_until_ended(ref, 10.0) for ref in left):
        (place.folder / "data" / "postmaster.pid").unlink(missing_ok=True)


def _recognise(process: psutil.Process, cluster: str) -> ProcessRef | None:
    # By the command line, which anybody may read: it begins with the options, or is the title of a server's child.
    with suppress(psutil.Error):
        if process.name() == "postgres" and cluster in " ".join(process.cmdline()):
            return identify(process.pid)
    return None


def _cluster_name(place: Place) -> str:
    return f"spindle-{hashlib.sha256(str(place.folder).encode()).hexdigest()[:12]}"
