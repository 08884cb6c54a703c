"""A check against real servers: damage is named, what is dead is no loss, and a repair publishes just that."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from common.kinds import Names, Service
from common.rabbitmq.topology import declare
from spindle.checking.diff import Subject, read_result
from spindle.cli import main
from tests.integration import tables
from tests.integration.manifests import write_manifest
from tests.integration.test_verify import LOAD, Stores
from tests.servers.amqp import Peer, new_names, peer_of
from tests.servers.servers import Neo4j, Postgres, RabbitMQ

KIND = "artists"
STORES = ("postgresql", "neo4j")


class Scene:
    """Both stores with a load, its manifest, and the queues of both services."""

    def __init__(self, stores: Stores, peer: Peer, names: Names, environ: dict[str, str], folder: Path) -> None:
        self.stores, self.peer, self.names, self.environ, self.folder = stores, peer, names, environ, folder

    async def check(self, *arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
        """Run the command. Returns: its exit code and what it says to a program."""
        capsys.readouterr()
        with pytest.MonkeyPatch.context() as environment:
            for name, value in self.environ.items():
                environment.setenv(name, value)
            code = await asyncio.to_thread(main, ["check", LOAD.date, "--kinds", KIND, "--json", *arguments])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else {"said": said.err}

    def listed(self, store: str, digest: str) -> dict[int, str]:
        """What the diff file says of each id."""
        with (self.folder / f"{LOAD.date}.{KIND}.{store}.diff").open("rb") as file:
            server = json.loads(file.readline())["server"]
        assert server
        result = read_result(self.folder, Subject(LOAD.date, KIND, store, digest, server))
        return {number: found.label for number, found in result.listed()}


@pytest.fixture
async def scene(postgres: Postgres, empty_neo4j: Neo4j, rabbitmq: RabbitMQ, tmp_path: Path) -> AsyncIterator[Scene]:
    """A load that is in both stores."""
    async with tables.own_schema(postgres.dsn) as dsn, peer_of(rabbitmq.url) as peer:
        stores, names = Stores(dsn, empty_neo4j), new_names()
        await stores.load(LOAD)
        for service in Service:
            await declare(peer.connection, names, service, KIND)
        environ = {
            "RABBITMQ_URL": rabbitmq.url,
            "RABBITMQ_MANAGEMENT_URL": "none",
            "DISCOGS_EXCHANGE_PREFIX": names.prefix,
            "POSTGRES_DSN": dsn,
            "NEO4J_URI": empty_neo4j.uri,
            "NEO4J_USERNAME": empty_neo4j.username,
            "NEO4J_PASSWORD": empty_neo4j.password,
            "SPINDLE_STATE": str(tmp_path),
        }
        write_manifest(tmp_path, LOAD, KIND)
        yield Scene(stores, peer, names, environ, tmp_path)


async def dead_letter(scene: Scene, service: Service, number: int, load: str = LOAD.date) -> None:
    await scene.peer.publish(
        scene.names.dead_letter_exchange(service, KIND),
        b'{"id":"%d"}' % number,
        headers={"load": load, "x-spindle-reason": "refused", "x-spindle-id": str(number)},
    )


async def test_a_check_names_what_is_wrong_in_each_store_and_a_repair_publishes_that_alone(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = await scene.check(capsys=capsys)
    assert (clean[0], clean[1]["complete"]) == (0, True), clean

    await scene.stores.damage_table("DELETE FROM artists WHERE data_id IN ('1', '2')")
    await scene.stores.damage_table("UPDATE artists SET hash = 'x' WHERE data_id = '3'")
    await scene.stores.damage_table("UPDATE artists SET hash = 'x', version = '21000101' WHERE data_id = '4'")
    await scene.stores.damage_table(
        "INSERT INTO artists VALUES ('900001', 'h', '{}', '19990101'), ('x', 'h', '{}', NULL)"
    )
    await scene.stores.damage_table("INSERT INTO artists VALUES ('900002', 'h', '{}', '21000101')")
    await scene.stores.damage_graph("MATCH (n:Artist {id: '5'}) SET n = {id: '5'}")
    await scene.stores.damage_graph("MATCH (n:Artist {id: '6'}) SET n.hash = 'x:1'")
    await scene.stores.damage_graph("MATCH (n:Artist {id: '7'}) SET n.hash = split(n.hash, ':')[0] + ':0'")
    await scene.stores.damage_graph("MERGE (n:Artist {id: '900001'}) SET n.hash = 'h:1', n.load = '19990101'")
    await dead_letter(scene, Service.TABLEINATOR, 2)
    await dead_letter(scene, Service.TABLEINATOR, 8)  # which is stored: a letter of a message that came twice
    await dead_letter(scene, Service.TABLEINATOR, 1, load="19990101")

    other = await scene.check("--repair", "--synthetic", "300", "--seed", "8", capsys=capsys)
    queues = [scene.names.queue(service, KIND) for service in (Service.TABLEINATOR, Service.GRAPHINATOR)]
    published = [await scene.peer.get_all(queue) for queue in queues]
    # Of the same ids only those with the manifest's content go out: 1 and 3 are hard cases, the same for every seed.
    assert [[message.header.properties.message_id for message in each] for each in published] == [
        ["artists:1", "artists:3"],
        [],
    ], other

    code, found = await scene.check("--repair", "--synthetic", "300", "--seed", "7", capsys=capsys)

    rows, nodes = found["checks"]
    assert code == 1
    assert scene.listed("postgresql", rows["manifest"]) == {1: "lost", 2: "dead", 3: "different", 900001: "gone"}
    assert scene.listed("neo4j", nodes["manifest"]) == {5: "lost", 6: "different", 900001: "gone"}
    assert (rows["newer"], rows["missing"], rows["unnumbered"], nodes["other_model"]) == (1, 2, 1, 1)
    assert (rows["same"], nodes["same"]) == (clean[1]["checks"][0]["same"] - 4, clean[1]["checks"][1]["same"] - 3)
    published = [await scene.peer.get_all(queue) for queue in queues]
    assert [[message.header.properties.message_id for message in each] for each in published] == [
        ["artists:1", "artists:3"],
        ["artists:5", "artists:6"],
    ]
    letters = await scene.peer.get_all(scene.names.dead_letter_queue(Service.TABLEINATOR, KIND))
    assert [(message.header.properties.headers or {})["x-spindle-id"] for message in letters] == ["2", "8", "1"]


async def test_a_check_that_can_not_be_made_says_why(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.environ["POSTGRES_DSN"] = tables.at(scene.environ["POSTGRES_DSN"], port=1)
    away = await scene.check(capsys=capsys)
    path = next(scene.folder.glob("*.manifest"))
    path.write_bytes(path.read_bytes()[:-1])
    cut = await scene.check(capsys=capsys)
    path.unlink()
    none = await scene.check(capsys=capsys)
    del scene.environ["SPINDLE_STATE"]
    nowhere = await scene.check(capsys=capsys)

    assert [each[0] for each in (away, cut, none, nowhere)] == [2, 2, 2, 2]
    assert "A store can't be read" in away[1]["said"]
    assert "was cut" in cut[1]["said"]
    assert "there is no manifest of artists" in none[1]["said"]
    assert "SPINDLE_STATE is not set" in nowhere[1]["said"]
