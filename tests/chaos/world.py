"""The servers of all runs, each behind its weather; and for each run a place of its own on them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from common.kinds import KINDS, Service
from tableinator.store import open_store
from tests.chaos.disk import Disk, small_disk
from tests.chaos.proxy import Weather, weather_before
from tests.chaos.redeliveries import Redeliveries
from tests.contract.proxy import Proxy, cuttable_proxy
from tests.e2e.broker import Broker
from tests.e2e.sides import Graph, Tables
from tests.integration import graphs, tables
from tests.servers import grants
from tests.servers.brokers import native_broker
from tests.servers.grants import Logins
from tests.servers.native import OwnNeo4j, OwnPostgres, OwnRabbitMQ, OwnServer
from tests.servers.pooler import pooler
from tests.servers.servers import Neo4j, RabbitMQ

LOGINS = Logins("chaos_")
"""The shipped logins (deploy/grants), with which the services run: these can be revoked."""

USER, ROLE = LOGINS.of("setup"), LOGINS.of("tableinator")
"""On the broker that of the first start, because a deleted queue has to be made again; in PostgreSQL the later one."""

ROLES = tuple(LOGINS.of(role) for role in ("setup", "tableinator", "operator"))
DROPS = tuple(f"DROP ROLE IF EXISTS {role}" for role in ROLES)

IMPATIENT = {
    "LOG_LEVEL": "debug",
    "RABBITMQ_HEARTBEAT": "3",
    "RABBITMQ_CONNECT_TIMEOUT": "2",
    "POSTGRES_CONNECT_TIMEOUT": "2",
    "POSTGRES_COMMAND_TIMEOUT": "8",
    "NEO4J_CONNECT_TIMEOUT": "2",
    "NEO4J_TRANSACTION_TIMEOUT": "8",
}
"""Everything else is as it is by default."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one run happens, as the test reaches it, and as the services do."""

    broker: Broker
    tables: Tables
    graph: Graph
    vhost: str
    environments: dict[Service, dict[str, str]]


class World:
    """Servers, weather, logins."""

    def __init__(
        self,
        rabbitmq: OwnRabbitMQ,
        postgres: OwnPostgres,
        neo4j: OwnNeo4j,
        weather: dict[str, Weather],
        postgres_name: Proxy,
        disk: Disk,
    ) -> None:
        """`postgres_name` leads to the server that is PostgreSQL's primary."""
        self.rabbitmq, self.postgres, self.neo4j = rabbitmq, postgres, neo4j
        self.weather, self.postgres_name, self.disk = weather, postgres_name, disk
        self.servers: dict[str, OwnServer] = {"rabbitmq": rabbitmq, "postgres": postgres, "neo4j": neo4j}
        self.redeliveries = Redeliveries(rabbitmq.member.place.ports["prometheus"])
        self.password = f"{secrets.token_hex(12)}"
        self._places = 0

    @property
    def management(self) -> RabbitMQ:
        """The broker's management, with every right."""
        return RabbitMQ(self.rabbitmq.url, self.rabbitmq.management_url)

    @property
    def secrets(self) -> list[str]:
        """What no log may show."""
        return [self.password, *(server.member.place.password for server in self.servers.values())]

    async def log_in(self) -> None:
        """Make the services' logins."""
        await self.api("PUT", f"users/{USER}", {"password": self.password, "tags": ""})
        await tables.run(
            self.postgres.dsn,
            *DROPS,
            *(each for each in grants.postgresql(LOGINS, "") if each.startswith("CREATE ROLE")),
            *(f"ALTER ROLE {role} PASSWORD '{self.password}'" for role in ROLES),
        )

    async def api(self, method: str, path: str, body: object = None) -> object:
        """Ask the broker's management without holding anything else up."""
        return await asyncio.to_thread(self.management.api, method, path, body)

    async def held(self, vhost: str, queues: Sequence[str]) -> int:
        """How many messages quorum queues hold, those given out included, as their own leaders count them.

        What AMQP tells leaves those out, and what management tells is seconds old: in both a queue looks empty while
        all that is in it lies in a connection that neither end knows to be dead.
        """
        names = ", ".join(f'<<"{queue}">>' for queue in queues)
        counting = (
            "lists:sum([begin "
            f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, N)), '
            "{ok, {_, C}, _} = ra:leader_query(amqqueue:get_pid(Q), fun rabbit_fifo:query_messages_total/1), C "
            f"end || N <- [{names}]])."
        )
        broker = native_broker(self.rabbitmq.member.place)
        return int(await asyncio.to_thread(broker.rabbitmqctl, "eval", counting))

    async def grant(self, broker: Broker) -> None:
        """Let the services use a vhost, as far as they need it."""
        vhost = broker.url.rpartition("/")[2]
        await self.api("PUT", f"permissions/{vhost}/{USER}", grants.permissions(broker.names)["setup"])

    async def _grant_tables(self, dsn: str, database: str) -> None:
        """Have the tables made by one login, and written by another."""
        statements = grants.postgresql(LOGINS, database)
        await tables.run(dsn, *(each for each in statements if not each.startswith("CREATE ROLE")))
        setup = tables.at(dsn, login=f"{LOGINS.of('setup')}:{self.password}")
        async with open_store(tables.settings(setup, kinds=KINDS)):
            pass

    @asynccontextmanager
    async def place(self, *, pooled: bool) -> AsyncIterator[Place]:
        """An empty vhost, an empty database and the emptied graph; the first two go again. `pooled`: with PgBouncer."""
        self._places += 1
        name = f"chaos_{self._places}_{secrets.token_hex(2)}"
        url = self.rabbitmq.url.rpartition("/")[0] + f"/{quote(name)}"
        admin = urlsplit(self.rabbitmq.url).username
        await self.api("PUT", f"vhosts/{name}", {})
        await self.api("PUT", f"permissions/{name}/{admin}", {"configure": ".*", "write": ".*", "read": ".*"})
        broker = Broker(url)
        await self.grant(broker)
        await tables.run(self.postgres.dsn, f"CREATE DATABASE {name}{self.disk.tablespace}")
        dsn = self.postgres.dsn.rpartition("/")[0] + f"/{name}"
        await self._grant_tables(dsn, name)
        await asyncio.to_thread(self._empty_graph)
        try:
            async with self._pooled(dsn) if pooled else nullcontext():
                yield Place(broker, Tables(dsn), Graph(self.neo4j), name, self._environments(broker, dsn))
        finally:
            for weather in self.weather.values():
                weather.reset()
            await self.api("DELETE", f"vhosts/{name}")
            await tables.run(self.postgres.dsn, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @asynccontextmanager
    async def _pooled(self, dsn: str) -> AsyncIterator[None]:
        """Have the services reach PostgreSQL through PgBouncer, which stands between the weather and the name."""
        weather, name = self.weather["postgres"], self.postgres_name
        logins = dict.fromkeys(ROLES, self.password)
        before = pooler(
            tables.at(dsn, port=name.port), "session", logins=logins, default_pool_size=20, server_login_retry=1
        )
        with ExitStack() as stack:
            port = urlsplit(await asyncio.to_thread(stack.enter_context, before)).port or 0
            weather.lead_to("127.0.0.1", port)
            try:
                yield
            finally:
                weather.lead_to("127.0.0.1", name.port)

    def _environments(self, broker: Broker, dsn: str) -> dict[Service, dict[str, str]]:
        ports = {name: weather.port for name, weather in self.weather.items()}
        url = tables.at(broker.url, port=ports["rabbitmq"], login=f"{USER}:{self.password}")
        dsn = tables.at(dsn, port=ports["postgres"], login=f"{ROLE}:{self.password}")
        shared = broker.environment | {"RABBITMQ_URL": url} | IMPATIENT
        graph = {
            "NEO4J_URI": f"bolt://127.0.0.1:{ports['neo4j']}",
            "NEO4J_USERNAME": self.neo4j.username,
            "NEO4J_PASSWORD": self.neo4j.password,
        }
        return {
            Service.TABLEINATOR: shared | {"POSTGRES_DSN": dsn},
            Service.GRAPHINATOR: shared | graph,
        }

    def _empty_graph(self) -> None:
        neo4j = self.neo4j
        Neo4j(neo4j.uri, neo4j.username, neo4j.password, neo4j.database).empty()


@asynccontextmanager
async def world_of(rabbitmq: OwnRabbitMQ, postgres: OwnPostgres, neo4j: OwnNeo4j) -> AsyncIterator[World]:
    """Put weather before these servers, and make logins on them."""
    addresses = {
        "rabbitmq": urlsplit(rabbitmq.url).port or 5672,
        "postgres": urlsplit(postgres.dsn).port or 5432,
        "neo4j": graphs.address(neo4j)[1],
    }
    async with AsyncExitStack() as stack:
        name = await stack.enter_async_context(cuttable_proxy("127.0.0.1", addresses["postgres"]))
        addresses["postgres"] = name.port
        weather = {
            name: await stack.enter_async_context(weather_before("127.0.0.1", port)) for name, port in addresses.items()
        }
        disk = await stack.enter_async_context(small_disk(postgres))
        world = World(rabbitmq, postgres, neo4j, weather, name, disk)
        await world.log_in()
        try:
            yield world
        finally:
            await tables.run(postgres.dsn, *DROPS)
            await world.api("DELETE", f"users/{USER}")
