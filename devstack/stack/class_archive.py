"""Neo4j's classes, parsed once per version and Java: a start takes half of its CPU time (measured: 3.5 s, not 7)."""

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from devstack.stack.files import locked
from devstack.stack.maven import cache_folder
from devstack.stack.member import Member
from devstack.stack.neo4j import Neo4j, class_archive, find_java
from devstack.stack.recipe import StackFailed
from devstack.stack.state import StateFile


def make_class_archive(say: Callable[[str], None]) -> None:
    """Run a Neo4j of its own once, whose JVM writes what it has loaded as it ends; it pays after four starts.

    Where that fails it says so: everything works without. Raises: StartRefused if there is no Java for it.
    """
    archive = class_archive()
    with locked(cache_folder() / "neo4j.lock"):
        if archive.exists():
            return
        say("archiving the classes of Neo4j (some 15 s, once)")
        try:
            with tempfile.TemporaryDirectory(prefix=".classes-", dir=cache_folder()) as folder:
                _make(archive, Path(folder))
        except (StackFailed, OSError, subprocess.SubprocessError) as error:
            [reason, *_] = (str(error) or type(error).__name__).splitlines()
            say(f"no archive of Neo4j's classes, so each start takes some seconds longer: {reason}")


def _make(archive: Path, folder: Path) -> None:
    draft = folder / archive.name
    server = Member(Neo4j(archive_to=draft), folder, StateFile(folder))
    server.start()
    server.stop()
    # A JVM that reads half an archive crashes: all of it has to be on the disk before it gets its name.
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    probe = [find_java(), f"-XX:SharedArchiveFile={draft}", "-version"]
    subprocess.run(probe, check=True, capture_output=True, timeout=60)  # noqa: S603 (ours)
    draft.replace(archive)
