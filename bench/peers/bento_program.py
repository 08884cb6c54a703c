"""Bento, built once per machine from its Go module with no more components than the bench uses."""

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.consumers import Process
from common.errors import StartRefused
from devstack.stack.files import last_lines, locked
from devstack.stack.maven import cache_folder

VERSION = "1.20.0"
SOURCE = Path(__file__).parent / "bento"
LEAST_GO = (1, 26)
"""What the module's go.mod asks for."""

_INSTALLED = Path("/usr/local/go/bin/go")
_BUILD_LIMIT = 1800.0  # seconds: 90 on two cores, and some minutes where the modules come over a slow line


@functools.cache
def reason_against() -> str | None:
    """Return why there is no Bento here, or None if there is one or it can be built."""
    if program().exists():
        return None
    go = find_go()
    if go is None:
        return "there is no Go toolchain"
    version = go_version(go)
    if version < LEAST_GO:
        return f"Go {'.'.join(map(str, version))} is older than {'.'.join(map(str, LEAST_GO))}"
    return None


def is_here() -> bool:
    """Tell whether there is a Bento, building it if need be; where there can't be one, say why."""
    try:
        build(_say)
    except StartRefused as error:
        _say(f"no Bento among the arms: {error}")
        return False
    return True


def program() -> Path:
    """Return where the program is, or will be; another one for other sources."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum", "main.go"):
        digest.update((SOURCE / name).read_bytes())
    return cache_folder() / f"bento-{VERSION}-{digest.hexdigest()[:12]}"


def build(say: Callable[[str], None]) -> Path:
    """Have the program in the cache; the second of two at the same time waits for the first.

    Raises: StartRefused, with the compiler's last words where it failed.
    """
    if (reason := reason_against()) is not None:
        raise StartRefused(reason)
    cache_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(cache_folder() / "bento.lock"):
        if not program().exists():
            say(f"building Bento {VERSION} from its Go module (some minutes, once)")
            _build(program())
    return program()


def start(config: str, environment: Mapping[str, str], log: Path) -> Process:
    """Start a built Bento with one of the configurations beside its sources."""
    return Process([str(program()), "-c", str(SOURCE / f"{config}.yaml")], environment, log)


def find_go() -> str | None:
    """Return a Go toolchain, in PATH or where its own installer puts it."""
    return shutil.which("go") or (str(_INSTALLED) if _INSTALLED.exists() else None)


def go_version(go: str) -> tuple[int, int]:
    """Return a toolchain's own version; (0, 0) if it does not run."""
    try:
        said = subprocess.run(
            [go, "version"], capture_output=True, text=True, timeout=30.0, check=False, env=_environment()
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    found = re.search(r"go(\d+)\.(\d+)", said.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _build(target: Path) -> None:
    go = find_go()
    assert go is not None
    with tempfile.TemporaryDirectory(prefix=".bento-", dir=target.parent) as folder:
        draft, log = Path(folder) / target.name, Path(folder) / "log"
        argv = ["nice", "-n", "10", go, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(draft), "."]
        with log.open("wb") as out:
            try:
                done = subprocess.run(
                    argv, cwd=SOURCE, env=_environment(), stdout=out, stderr=out, timeout=_BUILD_LIMIT, check=False
                )
            except subprocess.TimeoutExpired as error:
                raise StartRefused(f"Bento was not built within {_BUILD_LIMIT:.0f} s") from error
        if done.returncode != 0:
            raise StartRefused(f"Bento was not built:\n{last_lines(log)}")
        draft.replace(target)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _environment() -> dict[str, str]:
    # Neither another toolchain than the one that is here, nor other versions than those pinned.
    pinned = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    return {**os.environ, **pinned}
