"""mq-bridge, installed once per machine from its wheel into a folder of its own: nothing else needs its 40 MB."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench.consumers import Process
from common.errors import StartRefused
from devstack.stack.files import locked
from devstack.stack.maven import cache_folder

VERSION = "1.2.0"
_INSTALL_LIMIT = 600.0  # seconds


def is_here() -> bool:
    """Tell whether there is one, installing it if need be; where there can't be one, say why."""
    try:
        _install()
    except StartRefused as error:
        print(f"no mq-bridge among the arms: {error}", file=sys.stderr, flush=True)
        return False
    return True


def start(environment: Mapping[str, str], log: Path) -> Process:
    """Start the installed one with its route."""
    argv = [sys.executable, "-m", "bench.peers.mq_bridge_route"]
    return Process(argv, {**environment, "PYTHONPATH": f"{folder()}{os.pathsep}{Path.cwd()}"}, log)


def folder() -> Path:
    """Return where it is, or will be."""
    return cache_folder() / f"mq-bridge-{VERSION}"


def _install() -> None:
    cache_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(cache_folder() / "mq-bridge.lock"):
        if folder().exists():
            return
        draft = Path(tempfile.mkdtemp(prefix=".mq-bridge-", dir=cache_folder()))
        try:
            argv = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(draft), f"mq-bridge=={VERSION}"]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=_INSTALL_LIMIT, check=False)
            if done.returncode != 0:
                raise StartRefused(f"pip ended with {done.returncode}: {done.stderr.strip()[-200:]}")
            draft.rename(folder())
        except subprocess.TimeoutExpired as error:
            raise StartRefused(f"not installed within {_INSTALL_LIMIT:.0f} s") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
