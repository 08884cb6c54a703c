"""`spindle doctor` on real servers: a check passes where all is well, changes nothing, and fails for a real reason."""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from neo4j import AsyncSession
from pydantic import SecretStr

import graphinator.schema
from common.kinds import KINDS, Names, Service
from common.ops.checks import Check, State
from common.rabbitmq.connection import connected
from common.rabbitmq.ops.doctor import check_broker
from common.rabbitmq.topology import declare
from common.settings.programs import BrokerSettings
from graphinator.model import edges_of, node_labelled
from graphinator.ops.doctor import check_graph, record_of
from graphinator.schema import CONSTRAINED, statement_of
from spindle.cli import main
from tableinator.ops.doctor import check_tables
from tests.integration import graphs, tables
from tests.servers import servers

NAMES = Names()
QUEUE = NAMES.queue(Service.TABLEINATOR, "artists")
EXCHANGE = NAMES.exchange("artists")


def wrong(checks: Sequence[Check]) -> dict[str, tuple[State, str]]:
    """What is not in order, by name."""
    return {check.name: (check.state, check.sentence) for check in checks if check.state is not State.OK}


# ---- RabbitMQ ----


@pytest.fixture
def vhost(rabbitmq: servers.RabbitMQ) -> Iterator[servers.RabbitMQ]:
    """A vhost without a queue."""
    if not rabbitmq.management_url:
        pytest.skip("needs RabbitMQ's management API, to make vhosts and users")
    with servers.vhost_of_this_run(rabbitmq) as fresh:
        yield fresh


def vhost_name(broker: servers.RabbitMQ) -> str:
    """As the management API writes it in a path."""
    return urlsplit(broker.url).path[1:]


@contextmanager
def user_with(broker: servers.RabbitMQ, **permissions: str) -> Iterator[str]:
    """A user without any tag. Gives: the broker's URL with his login."""
    name = f"doctor-{secrets.token_hex(4)}"
    broker.api("PUT", f"users/{name}", {"password": "word", "tags": ""})
    try:
        granted = dict.fromkeys(("configure", "write", "read"), "") | permissions
        broker.api("PUT", f"permissions/{vhost_name(broker)}/{name}", granted)
        parts = urlsplit(broker.url)
        yield urlunsplit(parts._replace(netloc=f"{name}:word@{parts.netloc.rpartition('@')[2]}"))
    finally:
        broker.api("DELETE", f"users/{name}")


async def broker_checks(url: str) -> list[Check]:
    return await check_broker(BrokerSettings(url=SecretStr(url)), NAMES, KINDS)


async def test_an_empty_vhost_is_in_order_and_stays_empty(vhost: servers.RabbitMQ) -> None:
    checks = await broker_checks(vhost.url)

    exchanges = [each["name"] for each in vhost.api("GET", f"exchanges/{vhost_name(vhost)}")]
    assert wrong(checks) == {}
    assert [check.name for check in checks] == ["login", "version", "permissions", "queues"]
    assert vhost.api("GET", f"queues/{vhost_name(vhost)}") == []
    assert all(name == "" or name.startswith("amq.") for name in exchanges)


async def test_what_our_services_declared_is_in_order(vhost: servers.RabbitMQ) -> None:
    async with connected(BrokerSettings(url=SecretStr(vhost.url)), name="test") as connection:
        await declare(connection, NAMES, Service.TABLEINATOR, "artists")

    checks = await broker_checks(vhost.url)

    assert wrong(checks) == {}
    assert "is as ours would be" in checks[-1].sentence
    assert len(vhost.api("GET", f"queues/{vhost_name(vhost)}")) == 2


async def test_a_user_with_permissions_on_our_names_alone_is_in_order(vhost: servers.RabbitMQ) -> None:
    ours = f"^{NAMES.prefix}-"
    with user_with(vhost, configure=ours, write=ours, read=ours) as url:
        assert wrong(await broker_checks(url)) == {}


@pytest.mark.parametrize("lacking", ["configure", "write", "read"])
async def test_a_permission_that_is_lacking_fails_and_is_named(vhost: servers.RabbitMQ, lacking: str) -> None:
    ours = f"^{NAMES.prefix}-"
    almost = dict.fromkeys(("configure", "write", "read"), ours) | {lacking: f"{ours}(artists|labels|graphinator)"}
    with user_with(vhost, **almost) as url:
        state, sentence = wrong(await broker_checks(url))["permissions"]

    assert state is State.FAILED
    assert f"{NAMES.prefix}-" in sentence and "set_permissions" in sentence


async def test_a_queue_with_other_arguments_is_a_warning_and_is_named(vhost: servers.RabbitMQ) -> None:
    vhost.api("PUT", f"queues/{vhost_name(vhost)}/{QUEUE}", {"durable": True})  # classic, without dead letters

    checks = await broker_checks(vhost.url)

    differences = [check.sentence for check in checks if check.state is State.WARNING]
    assert {check.state for check in checks} == {State.OK, State.WARNING}
    assert any(f"{QUEUE}: x-queue-type is " in each for each in differences)
    assert any(f"{QUEUE}: x-dead-letter-exchange is unset" in each for each in differences)


async def test_a_queue_that_can_not_be_used_fails(vhost: servers.RabbitMQ) -> None:
    body = {"durable": True, "arguments": {"x-queue-type": "stream"}}
    vhost.api("PUT", f"queues/{vhost_name(vhost)}/{QUEUE}", body)

    state, sentence = wrong(await broker_checks(vhost.url))["queues"]

    assert state is State.FAILED
    assert QUEUE in sentence and "stream" in sentence


async def test_an_exchange_that_can_not_be_used_fails(vhost: servers.RabbitMQ) -> None:
    vhost.api("PUT", f"exchanges/{vhost_name(vhost)}/{EXCHANGE}", {"type": "fanout", "internal": True})

    state, sentence = wrong(await broker_checks(vhost.url))["queues"]

    assert state is State.FAILED
    assert EXCHANGE in sentence


async def test_a_wrong_vhost_and_a_wrong_password_fail_without_showing_it(vhost: servers.RabbitMQ) -> None:
    parts = urlsplit(vhost.url)
    no_vhost = urlunsplit(parts._replace(path="/nowhere"))
    no_login = urlunsplit(parts._replace(netloc=f"nobody:hidden@{parts.netloc.rpartition('@')[2]}"))

    found = [wrong(await broker_checks(url)) for url in (no_vhost, no_login)]

    assert [list(each) for each in found] == [["login"], ["login"]]
    assert "RABBITMQ_VHOST" in found[0]["login"][1]
    assert "RABBITMQ_PASSWORD" in found[1]["login"][1] and "hidden" not in found[1]["login"][1]


# ---- PostgreSQL ----


@pytest.fixture
async def schema(postgres: servers.Postgres) -> AsyncIterator[str]:
    """A DSN in which an empty schema is the only one."""
    async with tables.own_schema(postgres.dsn) as dsn:
        yield dsn


@asynccontextmanager
async def role_in(dsn: str, *grants: str) -> AsyncIterator[str]:
    """A role with these grants, `{role}` standing for it. Gives: the DSN with its login."""
    role = f"doctor_{secrets.token_hex(4)}"
    schema_name = dsn.rpartition("search_path=")[2]
    await tables.run(dsn, f"CREATE ROLE {role} LOGIN PASSWORD 'word'", f"GRANT USAGE ON SCHEMA {schema_name} TO {role}")
    await tables.run(dsn, *(grant.replace("{role}", role).replace("{schema}", schema_name) for grant in grants))
    try:
        yield tables.at(dsn, port=urlsplit(dsn).port, host=urlsplit(dsn).hostname or "", login=f"{role}:word")
    finally:
        await tables.run(dsn, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def table_checks(dsn: str) -> list[Check]:
    return await check_tables(tables.settings(dsn).postgres, KINDS, connections=1)


async def create_tables(dsn: str) -> None:
    """As the service does."""
    from tableinator.store import open_store

    async with open_store(tables.settings(dsn, kinds=KINDS)):
        pass


async def test_an_empty_database_is_in_order_and_stays_empty(schema: str) -> None:
    checks = await table_checks(schema)

    left = await tables.fetch(schema, "SELECT FROM pg_class WHERE relnamespace = current_schema()::regnamespace")
    assert wrong(checks) == {}
    assert {check.name for check in checks} >= {
        "version",
        "writing",
        "connections",
        "clock",
        "tables",
        "ledger",
        "rows",
    }
    assert left == []


async def test_tables_of_the_service_are_in_order_and_stay_without_a_row(schema: str) -> None:
    await create_tables(schema)

    assert wrong(await table_checks(schema)) == {}
    assert await tables.fetch(schema, "SELECT FROM artists") == []


async def test_a_role_that_may_not_write_fails_with_the_grant_it_needs(schema: str) -> None:
    await create_tables(schema)
    async with role_in(schema, "GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}") as dsn:
        state, sentence = wrong(await table_checks(dsn))["tables"]

    assert state is State.FAILED
    assert "GRANT INSERT, UPDATE ON" in sentence


async def test_a_role_that_may_not_create_tables_fails_with_what_to_run(schema: str) -> None:
    async with role_in(schema) as dsn:
        state, sentence = wrong(await table_checks(dsn))["tables"]

    assert state is State.FAILED
    assert "CREATE TABLE IF NOT EXISTS artists" in sentence and "permission denied" in sentence


async def test_a_read_only_database_fails(schema: str) -> None:
    found = wrong(await table_checks(tables.with_parameter(schema, "default_transaction_read_only=on")))

    assert found["writing"][0] is State.FAILED
    assert "POSTGRES_HOST" in found["writing"][1]


async def test_a_table_of_another_shape_fails_with_what_to_run(schema: str) -> None:
    await create_tables(schema)
    await tables.run(schema, "ALTER TABLE labels DROP COLUMN version")

    state, sentence = wrong(await table_checks(schema))["tables"]

    assert state is State.FAILED
    assert "ALTER TABLE labels ADD COLUMN version" in sentence


async def test_a_row_that_is_refused_fails(schema: str) -> None:
    await create_tables(schema)
    await tables.run(schema, "ALTER TABLE masters ADD CONSTRAINT never CHECK (data_id = 'never')")

    state, sentence = wrong(await table_checks(schema))["rows"]

    assert state is State.FAILED
    assert "masters" in sentence and "never" in sentence


async def test_errors_of_loads_that_the_tables_refuse_fail(schema: str) -> None:
    await create_tables(schema)
    await tables.run(schema, "ALTER TABLE spindle_errors ADD CONSTRAINT never CHECK (kind = 'none')")

    found = wrong(await table_checks(schema))

    assert list(found) == ["ledger"]
    assert found["ledger"][0] is State.FAILED
    assert "spindle_errors" in found["ledger"][1]


async def test_a_database_that_is_not_there_and_a_wrong_password_fail(postgres: servers.Postgres) -> None:
    nowhere = urlunsplit(urlsplit(postgres.dsn)._replace(path="/nowhere"))
    stranger = tables.at(postgres.dsn, port=urlsplit(postgres.dsn).port, login="nobody:hidden")

    found = [wrong(await table_checks(dsn)) for dsn in (nowhere, stranger)]

    assert [list(each) for each in found] == [["login"], ["login"]]
    assert "POSTGRES_DATABASE" in found[0]["login"][1]
    assert "POSTGRES_PASSWORD" in found[1]["login"][1] and "hidden" not in found[1]["login"][1]


# ---- Neo4j ----


@pytest.fixture
async def bare_graph(empty_neo4j: servers.Neo4j) -> AsyncIterator[servers.Neo4j]:
    """The shared Neo4j without a node or a constraint; the constraints come back."""
    names = [name for [name] in await graphs.fetch(empty_neo4j, "SHOW CONSTRAINTS YIELD name")]
    await _run(empty_neo4j, *(f"DROP CONSTRAINT {name}" for name in names))
    yield empty_neo4j
    empty_neo4j.empty()
    await _run(empty_neo4j, *map(statement_of, CONSTRAINED))


async def _run(server: servers.Neo4j, *statements: str) -> None:
    async with graphs.driver(server) as driver, driver.session(database=server.database) as session:
        for statement in statements:
            await (await session.run(statement)).consume()


async def graph_checks(server: servers.Neo4j, **changed: Any) -> list[Check]:
    return await check_graph(graphs.settings(server, **changed).neo4j, KINDS)


async def test_a_bare_graph_is_in_order_and_stays_bare_unless_its_nodes_forbid_a_constraint(
    bare_graph: servers.Neo4j,
) -> None:
    checks = await graph_checks(bare_graph)

    assert wrong(checks) == {}
    assert [check.name for check in checks] == [
        "login",
        "version",
        "clock",
        "size",
        "constraints",
        "indexes",
        "other writers",
        "nodes",
        "ledger",
    ]
    assert f"{len(CONSTRAINED)} don't exist yet" in checks[4].sentence
    assert await graphs.fetch(bare_graph, "SHOW INDEXES YIELD type WHERE type <> 'LOOKUP'") == []
    assert await graphs.fetch(bare_graph, "MATCH (n) RETURN n") == []

    # In the same test, because dropping and creating constraints takes long.
    await _run(bare_graph, "CREATE (:Genre {id: 3, title: 'Rock'})")

    state, sentence = wrong(await graph_checks(bare_graph))["other writers"]

    assert state is State.FAILED
    assert "1 Genre (such as one without name)" in sentence

    bare_graph.empty()
    await _run(bare_graph, "UNWIND ['7', '7'] AS id CREATE (:Artist {id: id})")

    state, sentence = wrong(await graph_checks(bare_graph))["constraints"]

    assert state is State.FAILED
    assert "CREATE CONSTRAINT artist_id" in sentence

    bare_graph.empty()
    await _run(bare_graph, "CREATE CONSTRAINT artist_id FOR (p:Person) REQUIRE p.id IS UNIQUE")

    try:
        state, sentence = wrong(await graph_checks(bare_graph))["constraints"]
    finally:
        await _run(bare_graph, "DROP CONSTRAINT artist_id")

    assert state is State.FAILED
    assert "artist_id" in sentence and "Person" in sentence


async def test_errors_of_loads_that_are_refused_fail(empty_neo4j: servers.Neo4j) -> None:
    await _run(empty_neo4j, *map(statement_of, CONSTRAINED))
    await _run(empty_neo4j, "CREATE CONSTRAINT doctor FOR (n:SpindleErrors) REQUIRE n.last_error IS UNIQUE")
    try:
        await _run(empty_neo4j, "CREATE (:SpindleErrors {key: 'other', last_error: ''})")

        found = wrong(await graph_checks(empty_neo4j))
    finally:
        await _run(empty_neo4j, "DROP CONSTRAINT doctor")

    assert list(found) == ["ledger"]
    assert found["ledger"][0] is State.FAILED
    assert "SpindleErrors" in found["ledger"][1]
    assert await graphs.fetch(empty_neo4j, "MATCH (n:SpindleErrors) RETURN count(n)") == [[1]], "rolled back"


async def test_a_node_that_is_refused_fails(empty_neo4j: servers.Neo4j) -> None:
    await _run(empty_neo4j, *map(statement_of, CONSTRAINED))
    await _run(empty_neo4j, "CREATE CONSTRAINT doctor FOR (n:Label) REQUIRE n.hash IS UNIQUE")
    try:
        await _run(empty_neo4j, "CREATE (:Label {id: 'other', hash: ''})")

        found = wrong(await graph_checks(empty_neo4j))
    finally:
        await _run(empty_neo4j, "DROP CONSTRAINT doctor")

    assert list(found) == ["nodes"]
    assert found["nodes"][0] is State.FAILED
    assert "labels" in found["nodes"][1]


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the server is made to say of indexes of ours, by name: none of a constraint's can be made to fail, since the
    constraint comes into being only when it is online. The rest is what it says itself.
    """
    states: dict[str, str] = {}
    true_states = graphinator.schema._states

    async def said(session: AsyncSession) -> list[dict[str, Any]]:
        rows = [dict(row) for row in await true_states(session)]
        return [row | ({"state": states[row["name"]]} if row["name"] in states else {}) for row in rows]

    monkeypatch.setattr(graphinator.schema, "_states", said)
    return states


async def test_indexes_that_failed_or_are_being_built_are_named_also_if_a_constraint_is_missing(
    empty_neo4j: servers.Neo4j, states: dict[str, str]
) -> None:
    await _run(empty_neo4j, *map(statement_of, CONSTRAINED))
    states["label_id"] = "POPULATING"

    assert wrong(await graph_checks(empty_neo4j)) == {
        "indexes": (
            State.WARNING,
            "Still being built: the index label_id is POPULATING, 100% done; "
            "graphinator waits for that when it starts.",
        )
    }

    # One that really fails: in the way of our constraint, which is missing.
    await _run(
        empty_neo4j,
        "DROP CONSTRAINT genre_name",
        f"CREATE (:Genre {{name: '{'x' * 40_000}'}})",  # more than an index takes
        "CREATE INDEX theirs FOR (n:Genre) ON (n.name)",
    )
    try:
        while await graphs.fetch(empty_neo4j, "SHOW INDEXES YIELD name, state WHERE name = 'theirs'") != [
            ["theirs", "FAILED"]
        ]:
            await asyncio.sleep(0.05)
        both = wrong(await graph_checks(empty_neo4j))
        states |= {"label_id": "ONLINE", "artist_id": "FAILED"}
        failed = wrong(await graph_checks(empty_neo4j))
    finally:
        await _run(empty_neo4j, "DROP INDEX theirs", "MATCH (n:Genre) DELETE n", statement_of(node_labelled("Genre")))

    assert {name: state for name, (state, _) in both.items()} == {
        "constraints": State.UNKNOWN,  # not tried while one is being built
        "indexes": State.FAILED,
    }
    assert "DROP INDEX theirs" in both["indexes"][1] and "label_id is POPULATING" in both["indexes"][1]
    assert [failed[name][0] for name in ("constraints", "indexes")] == [State.FAILED, State.FAILED]
    assert "DROP CONSTRAINT artist_id" in failed["indexes"][1] and "DROP INDEX theirs" in failed["indexes"][1]
    assert "CREATE CONSTRAINT genre_name" in failed["constraints"][1]


async def test_an_edge_that_is_refused_fails(empty_neo4j: servers.Neo4j) -> None:
    found = []
    for kept in ("()-[e:ON]-() REQUIRE e.catno", "()<-[e:CREDITED_ON]-() REQUIRE e.role"):
        await _run(empty_neo4j, f"CREATE CONSTRAINT doctor FOR {kept} IS UNIQUE")
        try:
            found.append(wrong(await graph_checks(empty_neo4j)))
        finally:
            await _run(empty_neo4j, "DROP CONSTRAINT doctor")

    assert [list(each) for each in found] == [["nodes"], ["nodes"]]
    assert all(each["nodes"][0] is State.FAILED and "releases" in each["nodes"][1] for each in found)
    assert await graphs.fetch(empty_neo4j, "MATCH (n) RETURN n") == []


def test_doctors_record_has_everything_that_a_record_can_have() -> None:
    for kind in KINDS:
        record = record_of(kind)

        assert None not in record.properties
        assert len(record.edges) == len(edges_of(kind)) and all(map(len, record.edges))


async def test_a_graph_that_another_writer_has_filled_is_named_and_ours_is_not(empty_neo4j: servers.Neo4j) -> None:
    async with graphs.opened(empty_neo4j) as store:
        await store.sink("labels").write([graphs.record("labels", "1", name="L", parentLabel={"id": "stub"})])

    assert wrong(await graph_checks(empty_neo4j)) == {}

    await _run(
        empty_neo4j,
        "CREATE (:Artist {id: '5', name: 'X'})<-[:BY]-(:Release {id: '7', title: 'T', hash: 'theirs'})"
        "-[:IS]->(:Genre {name: 'Rock', slug: 'rock'})",
    )

    [(name, (state, sentence))] = wrong(await graph_checks(empty_neo4j)).items()

    assert (name, state) == ("other writers", State.WARNING)
    assert "1 Artist (such as 5), 1 Release (such as 7): a load takes them over" in sentence
    assert "first 10,000" in sentence

    # Behind more than are looked at, and found by the index.
    await _run(
        empty_neo4j,
        "UNWIND range(1, 10001) AS i CREATE (:Master {id: toString(i), title: 'T'})",
        "CREATE (:Master {id: 8})",
    )

    [(name, (state, sentence))] = wrong(await graph_checks(empty_neo4j)).items()

    assert (name, state) == ("other writers", State.FAILED)
    assert "Another writer's nodes are 1 Master (such as 8): their keys are no text" in sentence
    # (Where a node lies is the server's choice: the one with a number may be among the first.)
    assert re.search(r"(9,999|10,000 or more) Master \(such as ", sentence)


async def test_the_statement_that_doctor_names_makes_keys_text(empty_neo4j: servers.Neo4j) -> None:
    await _run(empty_neo4j, "CREATE (:Artist {id: 5}), (:Artist {id: '7', hash: ':1'})")
    _, sentence = wrong(await graph_checks(empty_neo4j))["other writers"]

    await _run(empty_neo4j, sentence[sentence.index("CYPHER 5") : sentence.index("ROWS") + len("ROWS")])

    assert set(await graphs.nodes(empty_neo4j, "Artist")) == {"5", "7"}
    assert wrong(await graph_checks(empty_neo4j)) == {}


async def test_a_wrong_database_and_a_wrong_password_fail(neo4j: servers.Neo4j) -> None:
    # The wrong password once only: after several the right one is refused too.
    wrongly = ({"database": "nowhere"}, {"password": "hidden"})

    found = [wrong(await graph_checks(neo4j, **changed)) for changed in wrongly]

    assert [list(each) for each in found] == [["login"], ["login"]]
    assert "NEO4J_DATABASE" in found[0]["login"][1]
    assert "NEO4J_PASSWORD" in found[1]["login"][1] and "hidden" not in found[1]["login"][1]


# ---- all of it, as an operator runs it ----


def test_the_command_looks_at_everything_and_its_exit_code_says_what_it_found(
    rabbitmq: servers.RabbitMQ,
    postgres: servers.Postgres,
    neo4j: servers.Neo4j,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with servers.vhost_of_this_run(rabbitmq) as vhost, servers.database_of_this_run(postgres) as database:
        for name, value in {
            "RABBITMQ_URL": vhost.url,
            "RABBITMQ_MANAGEMENT_URL": vhost.management_url or "none",
            "POSTGRES_DSN": database.dsn,
            "NEO4J_URI": neo4j.uri,
            "NEO4J_USERNAME": neo4j.username,
            "NEO4J_PASSWORD": neo4j.password,
        }.items():
            monkeypatch.setenv(name, value)

        well, said = main(["doctor", "--json", "--synthetic", "1000"]), json.loads(capsys.readouterr().out)
        monkeypatch.setenv("RABBITMQ_MANAGEMENT_URL", "http://127.0.0.1:1")
        untold, unanswered = main(["doctor", "--json"]), json.loads(capsys.readouterr().out)
        monkeypatch.setenv("RABBITMQ_MANAGEMENT_URL", "none")
        meant = main(["doctor", "--json"])
        capsys.readouterr()
        monkeypatch.setenv("DOCTOR_DISK", "/")
        main(["doctor", "--json", "--synthetic", "100000000000"])
        shared = json.loads(capsys.readouterr().out)["checks"]
        monkeypatch.setenv("POSTGRES_BATCH_MODE", "false")
        slow = main(["doctor"])
        monkeypatch.setenv("NEO4J_URI", "bolt://127.0.0.1:1")
        failing = main(["doctor"])

    assert (well, slow, failing) == (0, 1, 2), said
    assert (untold, unanswered["verdict"], meant) == (2, "unknown", 0)
    assert {check["server"] for check in said["checks"]} == {
        *("graphinator", "tableinator", "extractor", "spindle", "RabbitMQ", "PostgreSQL", "Neo4j"),
    }
    assert ("servers", "disk", "failed") in {(check["server"], check["name"], check["state"]) for check in shared}
    assert "One record per transaction" in capsys.readouterr().out
