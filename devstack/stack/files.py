"""Folders and files of a stack: private, written whole or not at all, and locked against a second command."""

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import StartRefused

PROJECT = Path(__file__).resolve().parents[2]


def default_home(name: str) -> Path:
    """Return where the stack of this name and of this clone keeps its data; two clones never share one."""
    clone = hashlib.sha256(str(PROJECT).encode()).hexdigest()[:8]
    return _data_root() / f"{name}-{clone}"


def _data_root() -> Path:
    # PostgreSQL never runs as root but as `postgres`, which can't enter /root: hence not below root's own home.
    if os.geteuid() == 0:
        return Path("/var/lib/spindle")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "spindle"


def make_home(home: Path) -> None:
    """Create a stack's folder: open to its owner; others may pass through, if the owner is root, but see nothing.

    Raises: StartRefused if the folder exists and belongs to somebody else, or is a link.
    """
    if not home.parent.exists():
        home.parent.mkdir(parents=True)
        home.parent.chmod(_passable())  # a mode given to mkdir would be cut by the umask
    home.mkdir(exist_ok=True)
    found = home.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StartRefused(f"{home} is not a folder of the user who runs this; choose another one with --home")
    home.chmod(_passable())


def _passable() -> int:
    return 0o711 if os.geteuid() == 0 else 0o700


def write_private(path: Path, content: bytes | str) -> None:
    """Replace a file in one step, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    draft.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that this file stands for, waiting for it; it ends with the process, however that ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def last_lines(log: Path, count: int = 20) -> str:
    """Return the end of a log, for an error message."""
    if not log.exists():
        return "(no log)"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
