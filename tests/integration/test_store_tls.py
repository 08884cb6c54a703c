"""TLS to both stores: writes over it, login by certificate, and every failure as one sentence.

PostgreSQL speaks TLS itself. In front of Neo4j stands somebody who takes TLS off, which is the same to a driver.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.errors import StartRefused
from graphinator.ops.doctor import check_graph
from graphinator.store import open_store as open_graph
from tableinator.ops.doctor import check_tables
from tableinator.store import open_store as open_tables
from tests.integration import graphs, tables
from tests.integration.test_names import NAME, SILENT, Name
from tests.logged import setting
from tests.servers.native import OwnPostgres
from tests.servers.servers import Neo4j
from tests.servers.tls import Certificates

Settings = dict[str, Any]


def trusting(certificates: Certificates) -> Settings:
    """What trusts the server."""
    return {"tls": True, "tls_ca_file": str(certificates.authority)}


def showing(certificates: Certificates) -> Settings:
    """What trusts the server and shows a certificate."""
    files = {"tls_cert_file": str(certificates.client), "tls_key_file": str(certificates.client_key)}
    return trusting(certificates) | files


# PostgreSQL.


async def offer_tls(server: OwnPostgres, certificate: Path, key: Path, authority: Path) -> None:
    """Have the server take TLS with this certificate; its own process writes the files, so that they are its own."""
    names = {"cert": certificate, "key": key, "ca": authority}
    [[folder]] = await tables.fetch(server.dsn, "SELECT current_setting('data_directory')")
    for name, path in names.items():
        content = path.read_text().replace("'", "''")
        program = f"umask 077; base64 -d > {folder}/tls-{name}.pem"
        await tables.run(
            server.dsn, f"COPY (SELECT replace(encode('{content}', 'base64'), chr(10), '')) TO PROGRAM '{program}'"
        )
    [[before]] = await tables.fetch(server.dsn, "SELECT pg_conf_load_time()")
    await tables.run(
        server.dsn,
        *(
            f"ALTER SYSTEM SET ssl_{option}_file = 'tls-{name}.pem'"
            for option, name in (("cert", "cert"), ("key", "key"))
        ),
        "ALTER SYSTEM SET ssl_ca_file = 'tls-ca.pem'",
        "ALTER SYSTEM SET ssl = on",
        "SELECT pg_reload_conf()",
    )
    async with asyncio.timeout(30.0):
        while (await tables.fetch(server.dsn, "SELECT pg_conf_load_time()"))[0][0] <= before:
            await asyncio.sleep(0.05)


async def refused_by_postgres(dsn: str, **settings: Any) -> str:
    """The sentence with which the start is refused."""
    with pytest.raises(StartRefused) as refused:
        async with asyncio.timeout(20.0), open_tables(tables.settings(dsn, **settings)):
            pass
    return str(refused.value)


async def test_rows_are_written_over_tls_and_what_is_wrong_is_said(
    own_postgres: OwnPostgres, certificates: Certificates, tmp_path: Path
) -> None:
    dsn = own_postgres.dsn
    plain = await refused_by_postgres(dsn, **trusting(certificates))
    await offer_tls(own_postgres, certificates.server, certificates.server_key, certificates.authority)

    async with open_tables(tables.settings(dsn, **showing(certificates))) as store:
        await store.sink("artists").write([tables.row("1")])
        encrypted = await tables.fetch(
            dsn,
            "SELECT ssl, client_dn FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
            "WHERE application_name = 'tableinator' AND datname = current_database()",
        )
    assert {(row["ssl"], "/CN=spindle-" in row["client_dn"]) for row in encrypted} == {(True, True)}

    other = str(certificates.other_authority)
    untrusted = await refused_by_postgres(dsn, tls=True, tls_ca_file=other)
    unknown = await refused_by_postgres(dsn, tls=True)
    [look] = await check_tables(tables.settings(dsn, tls=True).postgres, ["artists"], connections=1)
    async with open_tables(tables.settings(dsn, tls=True, tls_ca_file=other, tls_verify=False)):
        pass
    (tmp_path / "odd.pem").write_text("no certificate")
    odd = await refused_by_postgres(dsn, tls=True, tls_ca_file=str(tmp_path / "odd.pem"))
    await offer_tls(own_postgres, certificates.other_host, certificates.other_host_key, certificates.authority)
    elsewhere = await refused_by_postgres(dsn, **trusting(certificates))
    await offer_tls(own_postgres, certificates.expired, certificates.expired_key, certificates.authority)
    expired = await refused_by_postgres(dsn, **trusting(certificates))

    assert "does not speak TLS on this port; check POSTGRES_TLS" in plain
    assert "that is not trusted" in untrusted
    assert "POSTGRES_TLS_CA_FILE" in untrusted
    assert "that is not trusted" in unknown
    assert "that is not trusted" in look.sentence
    assert "POSTGRES_TLS_CA_FILE is" in odd
    assert "of another host" in elsewhere
    assert "whose time is not now" in expired


# Neo4j.


@asynccontextmanager
async def tls_before(
    server: Neo4j, certificate: Path, key: Path, *, asks_for: Path | None = None
) -> AsyncIterator[int]:
    """A port where TLS is spoken, and the server behind it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=asks_for)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED if asks_for else ssl.CERT_NONE

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            answers, onward = await asyncio.open_connection(*graphs.address(server))
            async with asyncio.TaskGroup() as group:
                group.create_task(carry(reader, onward))
                group.create_task(carry(answers, writer))

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(65536):
                target.write(chunk)
                await target.drain()
        target.transport.abort()

    listener = await asyncio.start_server(join, "127.0.0.1", 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


async def refused_by_neo4j(server: Neo4j, port: int | None, **settings: Any) -> str:
    """The sentence with which the start is refused."""
    with pytest.raises(StartRefused) as refused:
        async with asyncio.timeout(20.0), open_graph(graphs.settings(server, port=port, **settings)):
            pass
    return str(refused.value)


async def test_the_graph_is_written_over_tls_and_a_certificate_is_shown(
    neo4j: Neo4j, certificates: Certificates
) -> None:
    ours = certificates.authority
    async with (
        tls_before(neo4j, certificates.server, certificates.server_key, asks_for=ours) as port,
        open_graph(graphs.settings(neo4j, port=port, **showing(certificates))) as store,
    ):
        await store.sink("artists").write([graphs.record("artists", "tls-1", name="over TLS")])

    assert await graphs.fetch(neo4j, "MATCH (a:Artist {id: 'tls-1'}) DETACH DELETE a RETURN count(*)") == [[1]]


async def test_another_address_of_neo4js_name_is_greeted_over_tls(
    neo4j: Neo4j, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 89."""
    server = (certificates.server, certificates.server_key)
    with ExitStack() as stack:
        async with tls_before(neo4j, *server) as port, asyncio.timeout(30.0):
            Name(stack, monkeypatch).begins_with(SILENT, port)
            there = graphs.settings(neo4j, uri=f"bolt://{NAME}:{port}", tls=True, tls_verify=False, connect_timeout=6.0)
            async with open_graph(there) as store:
                assert store.pool_in_use() == 0  # it was prepared, which takes a connection


async def test_what_is_wrong_with_tls_to_neo4j_is_said(neo4j: Neo4j, certificates: Certificates) -> None:
    server = (certificates.server, certificates.server_key)
    async with tls_before(neo4j, *server) as port:
        other = {"tls": True, "tls_ca_file": str(certificates.other_authority)}
        untrusted = await refused_by_neo4j(neo4j, port, **other)
        [look] = await check_graph(graphs.settings(neo4j, port=port, **other).neo4j, ["artists"])
        async with open_graph(graphs.settings(neo4j, port=port, tls=True, tls_verify=False)):
            pass
    async with tls_before(neo4j, certificates.other_host, certificates.other_host_key) as port:
        elsewhere = await refused_by_neo4j(neo4j, port, **trusting(certificates))
    async with tls_before(neo4j, certificates.expired, certificates.expired_key) as port:
        expired = await refused_by_neo4j(neo4j, port, **trusting(certificates))

    for sentence in (untrusted, look.sentence):
        assert "that is not trusted" in sentence
        assert "NEO4J_TLS_CA_FILE" in sentence
    assert "of another host" in elsewhere
    assert "whose time is not now" in expired


async def test_a_neo4j_that_speaks_no_tls_is_waited_for_with_a_hint(neo4j: Neo4j, certificates: Certificates) -> None:
    said = asyncio.Event()

    async def open_it() -> None:
        async with open_graph(graphs.settings(neo4j, **trusting(certificates))):
            pass

    with capture_logs(processors=[setting(said)]) as lines:
        async with asyncio.timeout(30.0), asyncio.TaskGroup() as group:
            opening = group.create_task(open_it())
            await said.wait()
            opening.cancel()

    assert lines[0]["event"] == "Waiting for the store"
    assert "does it speak TLS on this port?" in lines[0]["reason"]
