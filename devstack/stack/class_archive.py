"""Neo4j's classes, parsed once per machine: a start takes half of its CPU time (measured: 3.5 instead of 7 s)."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from devstack.stack.files import locked
from devstack.stack.maven import cache_folder
from devstack.stack.member import Member
from devstack.stack.neo4j import Neo4j, class_archive
from devstack.stack.state import StateFile


def make_class_archive(say: Callable[[str], None]) -> None:
    """Run a Neo4j of its own once, whose JVM writes what it has loaded as it ends; it pays after four starts.

    Raises: StartRefused, StackFailed.
    """
    archive = class_archive()
    with locked(cache_folder() / "neo4j.lock"):
        if archive.exists():
            return
        say("archiving the classes of Neo4j (some 15 s, once)")
        with tempfile.TemporaryDirectory(prefix=".classes-", dir=cache_folder()) as folder:
            draft = Path(folder) / archive.name
            server = Member(Neo4j(archive_to=draft), Path(folder), StateFile(Path(folder)))
            server.start()
            server.stop()
            draft.replace(archive)
