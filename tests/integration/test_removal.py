"""Removal on real servers: guards, exactly what is gone, stubs, undo, a kill in the middle, and a login of its own."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from common.delivery import Delivery, Epoch, Properties
from common.errors import StartRefused
from common.kinds import KINDS, Names, Service
from common.pipeline.decoding import decode
from common.rabbitmq.topology import declare
from extractor.manifest.format import PUBLISHED, ROW, Header, path_of
from extractor.manifest.writer import Writer
from graphinator.store import open_store as open_graph
from spindle.cli import main
from tableinator.connections import Connections
from tableinator.ops.removal import TableRemoval
from tableinator.store import open_store as open_tables
from tests.e2e.services import ROOT
from tests.integration import graphs, tables
from tests.integration.test_grants_postgresql import granted
from tests.servers import grants
from tests.servers.amqp import Peer, new_names, peer_of
from tests.servers.servers import Neo4j, Postgres, RabbitMQ

KIND, LOAD, BEFORE = "artists", "20260901", "20260801"
COUNT = 2000
NAMED, UNNAMED = 7, 8
"""Two artists that will be gone: one whom 40 releases name, and one whom nobody names."""

Edges = list[str]


def sha256_of(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def body_of(number: int) -> bytes:
    record: dict[str, Any] = {
        "type": "data",
        "id": str(number),
        "sha256": sha256_of(number),
        "name": f"Artist {number}",
    }
    if number == NAMED:
        record |= {"aliases": [{"id": "9", "name": "A"}], "groups": [{"id": "5000", "name": "Only he names it"}]}
    if number == 10:
        record["groups"] = [{"id": str(NAMED), "name": "A group that will be gone"}]
    return json.dumps(record).encode()


class Scene:
    """2,000 artists in both stores, whom 40 releases name, and both services' queues."""

    def __init__(
        self, dsn: str, server: Neo4j, peer: Peer, names: Names, environ: dict[str, str], folder: Path
    ) -> None:
        self.dsn, self.server, self.peer, self.names, self.environ, self.folder = (
            dsn,
            server,
            peer,
            names,
            environ,
            folder,
        )

    async def fill(self) -> None:
        """Write the artists and the releases through the sinks."""
        async with open_tables(tables.settings(self.dsn, kinds=KINDS)) as rows:
            await self.store(rows, KIND, [body_of(number) for number in range(1, COUNT + 1)])
        async with open_graph(graphs.settings(self.server)) as nodes:
            await self.store(nodes, KIND, [body_of(number) for number in range(1, COUNT + 1)])
            releases = [
                json.dumps(
                    {
                        "type": "data",
                        "id": str(number),
                        "sha256": sha256_of(number),
                        "title": "T",
                        "artists": [{"id": str(NAMED)}, {"id": "11"}],
                    }
                ).encode()
                for number in range(1, 41)
            ]
            await self.store(nodes, "releases", releases)

    async def store(self, store: Any, kind: str, bodies: list[bytes], load: str | None = BEFORE) -> None:
        """Write messages as a service would."""
        project = store.projection(kind)
        read: list[Any] = [
            decode(Delivery(1, Epoch(1), body, 0.0, load, None, 0, Properties), project) for body in bodies
        ]
        for start in range(0, len(read), 500):
            await store.sink(kind).write(read[start : start + 500])

    def list(self, gone: Collection[int], **header: Any) -> None:
        """Write the manifest of a dump without these artists."""
        ids = [number for number in range(1, COUNT + 1) if number not in gone]
        said = Header(load=LOAD, kind=KIND, file="f", bytes=3, extractor="0", normaliser=1)
        with Writer(path_of(self.folder, LOAD, KIND), said) as writer:
            writer.cut_to(0)
            writer.append(
                b"".join(ROW.pack(each, bytes(8), bytes.fromhex(sha256_of(each)[:16]), PUBLISHED) for each in ids)
            )
            writer.finish(msgspec.structs.replace(said, **{"complete": True, "checksum": "matched", **header}))
            writer.keep()

    async def run(self, capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, str]:
        """Run a command. Returns: its exit code, and all that it said."""
        capsys.readouterr()
        with pytest.MonkeyPatch.context() as environment:
            for name, value in self.environ.items():
                environment.setenv(name, value)
            code = await asyncio.to_thread(main, [command[0], LOAD, "--kinds", KIND, *command[1:]])
        said = capsys.readouterr()
        return code, said.out + said.err

    async def rows(self) -> dict[str, tuple[str, str, str | None]]:
        """The artists' table."""
        found = await tables.fetch(self.dsn, "SELECT data_id, hash, data::text, version FROM artists")
        return {row[0]: (row[1], row[2], row[3]) for row in found}

    async def graph(self) -> tuple[dict[str, dict[str, Any]], Edges]:
        """The artists' nodes, and all edges."""
        return await graphs.nodes(self.server, "Artist"), await graphs.edges(self.server)


@pytest.fixture
async def scene(postgres: Postgres, empty_neo4j: Neo4j, rabbitmq: RabbitMQ, tmp_path: Path) -> AsyncIterator[Scene]:
    """Last month's artists in both stores."""
    async with tables.own_schema(postgres.dsn) as dsn, peer_of(rabbitmq.url) as peer:
        names = new_names()
        for service in Service:
            await declare(peer.connection, names, service, KIND)
        environ = {
            "RABBITMQ_URL": rabbitmq.url,
            "RABBITMQ_MANAGEMENT_URL": rabbitmq.management_url or "none",
            "DISCOGS_EXCHANGE_PREFIX": names.prefix,
            "POSTGRES_DSN": dsn,
            "NEO4J_URI": empty_neo4j.uri,
            "NEO4J_USERNAME": empty_neo4j.username,
            "NEO4J_PASSWORD": empty_neo4j.password,
            "SPINDLE_STATE": str(tmp_path),
        }
        scene = Scene(dsn, empty_neo4j, peer, names, environ, tmp_path)
        await scene.fill()
        yield scene


async def test_guards_refuse_then_exactly_what_is_gone_goes_and_comes_back(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, (nodes, edges) = await scene.rows(), await scene.graph()

    # ---- the guards, one by one ----
    for gone, sentence in (
        (range(1, 61), "60 of 1,940 records are gone"),
        (range(1, 13), "12 of 1,988 records are gone"),
    ):
        scene.list(gone)
        assert (await scene.run(capsys, "check"))[0] == 0
        code, said = await scene.run(capsys, "remove")
        assert (code, sentence in said, f"--exactly {2 * len(gone)}" in said) == (2, True, True), said
        assert (await scene.run(capsys, "remove", "--exactly", "5"))[0] == 2
    scene.list({NAMED, UNNAMED}, complete=False)
    code, said = await scene.run(capsys, "remove")
    assert (code, "is not complete" in said) == (2, True), said
    scene.list({NAMED, UNNAMED})
    code, said = await scene.run(capsys, "remove")
    assert (code, "bound to another manifest" in said) == (2, True), said
    assert (await scene.rows(), await scene.graph()) == (rows, (nodes, edges))

    # ---- 0.1% ----
    assert (await scene.run(capsys, "check"))[0] == 0
    planned = await scene.run(capsys, "remove", "--plan")
    assert (planned[0], "nothing was removed yet" in planned[1]) == (0, True), planned
    assert await scene.rows() == rows
    removed = await scene.run(capsys, "remove")
    assert removed[0] == 0, removed

    assert await scene.rows() == {each: row for each, row in rows.items() if each not in (f"{NAMED}", f"{UNNAMED}")}
    left, left_edges = await scene.graph()
    # The group that only he named goes with him; he stays as a stub, because others name him.
    expected = {each: node for each, node in nodes.items() if each not in (f"{UNNAMED}", "5000")}
    assert left == expected | {f"{NAMED}": {"id": f"{NAMED}"}}
    own = {f"Artist {NAMED} -ALIAS_OF-> Artist 9", f"Artist {NAMED} -MEMBER_OF-> Artist 5000"}
    assert left_edges == [edge for edge in edges if edge not in own]
    assert sum(edge.endswith(f"-BY-> Artist {NAMED}") for edge in left_edges) == 40
    again = await scene.run(capsys, "remove")
    assert again[0] == 0, again

    # ---- and back ----
    undone = await scene.run(capsys, "remove", "--undo")
    assert undone[0] == 0, undone
    messages = await scene.peer.get_all(scene.names.queue(Service.TABLEINATOR, KIND))
    assert {(message.header.properties.headers or {})["load"] for message in messages} == {BEFORE}
    async with open_tables(tables.settings(scene.dsn)) as store:
        await scene.store(store, KIND, [message.body for message in messages])
    assert await scene.rows() == rows
    assert await scene.graph() == (nodes, edges)


async def test_a_removal_or_an_undo_that_is_killed_in_the_middle_is_done_by_running_it_again(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, graph = await scene.rows(), await scene.graph()
    scene.list({NAMED, UNNAMED})
    assert (await scene.run(capsys, "check"))[0] == 0

    async def rows_are_gone() -> bool:
        return len(await scene.rows()) == COUNT - 2

    await killed(scene, rows_are_gone)
    assert len((await scene.graph())[0]) == COUNT + 1

    assert (await scene.run(capsys, "remove"))[0] == 0

    nodes, _ = await scene.graph()
    assert f"{UNNAMED}" not in nodes
    assert nodes[f"{NAMED}"] == {"id": f"{NAMED}"}
    assert await rows_are_gone()

    # ---- and the undo ----
    queue = scene.names.queue(Service.TABLEINATOR, KIND)

    async def rows_are_on_their_way() -> bool:
        return await scene.peer.ready(queue) == 2

    await killed(scene, rows_are_on_their_way, "--undo")
    assert (await scene.graph())[0] == nodes

    assert (await scene.run(capsys, "remove", "--undo"))[0] == 0

    messages = await scene.peer.get_all(queue)
    assert {message.header.properties.message_id for message in messages} == {f"{KIND}:{NAMED}", f"{KIND}:{UNNAMED}"}
    async with open_tables(tables.settings(scene.dsn)) as store:
        await scene.store(store, KIND, list({message.body for message in messages}))
    assert await scene.rows() == rows
    assert await scene.graph() == graph


async def killed(scene: Scene, is_midway: Callable[[], Awaitable[bool]], *options: str) -> None:
    """Begin a removal, and kill it between the two stores: the graph's part waits for a lock."""
    async with graphs.driver(scene.server) as driver, driver.session(database=scene.server.database) as session:
        transaction = await session.begin_transaction()
        await (await transaction.run("MATCH (n:Artist {id: '7'}) SET n.held = 1")).consume()
        process = subprocess.Popen(  # noqa: ASYNC220 (it is not waited for)
            [sys.executable, "-m", "spindle", "remove", LOAD, "--kinds", KIND, *options],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **scene.environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(60):
                while not await is_midway():
                    await asyncio.sleep(0.05)  # it happens in another process, which tells nobody
        finally:
            process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(process.wait)
        await transaction.rollback()


async def test_a_removal_takes_a_login_of_its_own(postgres: Postgres) -> None:
    async with granted(postgres) as desk:
        await desk.start("setup")
        await desk.write("tableinator")
        role = desk.logins.of("remover")
        name = desk.admin.rpartition("/")[2].partition("?")[0]
        text = (grants.FOLDER / "removal.sql").read_text().replace("spindle_remover", role)
        lines = [line for line in text.replace("DATABASE spindle", f"DATABASE {name}").splitlines() if line[:2] != "--"]
        await tables.run(desk.admin, *filter(None, (each.strip() for each in "\n".join(lines).split(";"))))
        await tables.run(desk.admin, f"ALTER ROLE {role} PASSWORD '{grants.PASSWORD}'")
        try:
            with pytest.raises(StartRefused, match=r"may not remove .*deploy/grants/removal\.sql"):
                await removed_by(desk.dsn("tableinator"))
            assert await removed_by(desk.dsn("remover")) == 1
            for beyond in (
                "INSERT INTO artists VALUES ('2', '', '{}')",
                "UPDATE artists SET hash = ''",
                "DROP TABLE artists",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await tables.run(desk.dsn("remover"), beyond)
        finally:
            await tables.run(desk.admin, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def removed_by(dsn: str) -> int:
    settings = tables.settings(dsn).postgres
    async with Connections(settings, size=1) as connections:
        return await TableRemoval(connections, settings).remove(KIND, LOAD, ["1", "2"])
