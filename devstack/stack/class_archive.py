"""Neo4j's classes, parsed once per version and Java.

A start takes half of its CPU time (measured: 3.5 s, not 7), and so do the first statements.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from neo4j import GraphDatabase
from neo4j.exceptions import DriverError, Neo4jError

from devstack.stack.files import locked
from devstack.stack.maven import cache_folder
from devstack.stack.member import Member
from devstack.stack.neo4j import DATABASE, USER, Neo4j, class_archive, find_java, uri
from devstack.stack.recipe import Place, StackFailed
from devstack.stack.state import StateFile

_WORK = (
    "CREATE CONSTRAINT IF NOT EXISTS FOR (n:Node) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT IF NOT EXISTS FOR (n:Other) REQUIRE n.id IS UNIQUE",
    "SHOW CONSTRAINTS YIELD name, type WHERE type = 'x' RETURN name",
    "SHOW INDEXES YIELD name, state RETURN count(*)",
    "CALL db.awaitIndexes(60)",
    "UNWIND range(1, 500) AS i CREATE (:Other {id: toString(i), text: 'a text', list: ['a', 'b'], at: datetime()})",
    "UNWIND range(1, 500) AS i WITH {id: toString(i), other: toString(i * 2 % 700)} AS row "
    "MERGE (n:Node {id: row.id}) ON CREATE SET n.new = true ON MATCH SET n.new = false SET n += {x: 1, y: null} "
    "MERGE (m:Other {id: row.other}) MERGE (n)-[e:EDGE {key: row.id}]->(m) SET e.z = coalesce(e.z, 0) + 1",
    "MATCH (n:Node) WHERE n.id IN ['1', '2'] OPTIONAL MATCH (n)-[e:EDGE]->(m) WITH n, collect({key: e.key}) AS edges "
    "RETURN n.id, properties(n), labels(n), edges, size(edges) ORDER BY n.id LIMIT 10",
    "MATCH (n:Node) CALL (n) { MATCH (n)-[e]->() WHERE e.z > 0 DELETE e RETURN count(*) AS gone } RETURN sum(gone)",
    "MATCH (n) RETURN labels(n)[0] AS label, count(*) AS count",
    "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 200 ROWS",
)
"""Statements of all sorts: for its first ones a server loads as many classes as for its start."""


def make_class_archive(say: Callable[[str], None]) -> None:
    """Run a Neo4j of its own once, whose JVM writes what it has loaded as it ends; it pays after six starts.

    Where that fails it says so: everything works without. Raises: StartRefused if there is no Java for it.
    """
    archive = class_archive()
    with locked(cache_folder() / "neo4j.lock"):
        if archive.exists():
            return
        say("archiving the classes of Neo4j (some 25 s, once)")
        try:
            with tempfile.TemporaryDirectory(prefix=".classes-", dir=cache_folder()) as folder:
                _make(archive, Path(folder))
        except (StackFailed, DriverError, Neo4jError, OSError, subprocess.SubprocessError) as error:
            [reason, *_] = (str(error) or type(error).__name__).splitlines()
            say(f"no archive of Neo4j's classes, so each start takes some seconds longer: {reason}")


def _make(archive: Path, folder: Path) -> None:
    draft = folder / archive.name
    server = Member(Neo4j(archive_to=draft), folder, StateFile(folder))
    server.start()
    try:
        _work(server.place)
    finally:
        server.stop()
    # A JVM that reads half an archive crashes: all of it has to be on the disk before it gets its name.
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    probe = [find_java(), f"-XX:SharedArchiveFile={draft}", "-version"]
    subprocess.run(probe, check=True, capture_output=True, timeout=60)  # noqa: S603 (ours)
    draft.replace(archive)


def _work(place: Place) -> None:
    auth = (USER, place.password)
    with GraphDatabase.driver(uri(place), auth=auth) as driver, driver.session(database=DATABASE) as session:
        for statement in _WORK:
            session.run(statement).consume()
