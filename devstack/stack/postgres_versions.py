"""Which PostgreSQL the native stack runs, and Maven's binaries of those that the distribution doesn't have."""

import os
import platform
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from common.errors import StartRefused
from devstack.stack.files import locked
from devstack.stack.maven import cache_folder
from devstack.stack.recipe import StackFailed

VERSIONS = {"15": "15.19.0", "16": "16.15.0", "17": "17.11.0", "18": "18.6.0"}
"""Major versions, and the release that Maven gives if none is installed."""

VARIABLE = "POSTGRES_VERSION"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy"
_ARTIFACT = "io.zonky.test.postgres:embedded-postgres-binaries-linux-{machine}:{version}"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64v8"}


def asked_version() -> str | None:
    """Return the major version that `POSTGRES_VERSION` asks for; None: the newest installed. Raises: StartRefused."""
    asked = os.environ.get(VARIABLE)
    if not asked:
        return None
    if asked not in VERSIONS:
        raise StartRefused(f"{VARIABLE} is {asked!r}; allowed is one of {', '.join(VERSIONS)}.")
    return asked


def programs_folder(version: str) -> Path:
    """Return where Maven's programs of a major version are, or will be: it appears only when it is complete.

    They are initdb, pg_ctl and postgres alone.
    """
    # PostgreSQL never runs as root, and the account that it has then can't enter root's home.
    cache = Path("/var/cache/spindle") if os.geteuid() == 0 else cache_folder()
    return cache / f"postgres-{VERSIONS[version]}" / "bin"


def fetch_postgres(version: str, say: Callable[[str], None]) -> None:
    """Have a version's programs; the second of two at the same time waits for the first. Raises: StackFailed."""
    folder = programs_folder(version).parent
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with locked(folder.parent / "postgres.lock"):
        if folder.exists():
            return
        say(f"fetching PostgreSQL {VERSIONS[version]} by Maven (15 MB)")
        draft = Path(tempfile.mkdtemp(prefix=".postgres-", dir=folder.parent))
        try:
            _fetch(version, draft)
            (draft / "programs").rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _fetch(version: str, draft: Path) -> None:
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise StackFailed(f"Maven has no PostgreSQL for {platform.machine()}")
    artifact = _ARTIFACT.format(machine=machine, version=VERSIONS[version])
    _run(["mvn", "-B", "-q", _PLUGIN, f"-Dartifact={artifact}", f"-DoutputDirectory={draft}"], draft)
    [jar] = draft.glob("*.jar")
    with zipfile.ZipFile(jar) as content:
        [archive] = [name for name in content.namelist() if name.endswith(".txz")]
        content.extract(archive, draft)
    (draft / "programs").mkdir(mode=0o755)
    _run(["tar", "-xJf", str(draft / archive), "-C", str(draft / "programs"), "--no-same-owner"], draft)


def _run(argv: list[str], folder: Path) -> None:
    done = subprocess.run(  # noqa: S603  (the argument list is ours)
        argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300.0, check=False
    )
    if done.returncode != 0:
        raise StackFailed(f"{argv[0]} could not bring PostgreSQL:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
