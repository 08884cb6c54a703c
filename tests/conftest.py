"""The tests' servers. Each starts when the first test asks for it and ends with the run, also with a failed one.

`rabbitmq`, `postgres`, `neo4j` are shared by all tests of a run; `own_rabbitmq`, `own_postgres`, `own_neo4j` may be
stopped, killed and frozen by the test that has them; `private_stack` is an empty native stack.
"""

import logging
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from common.errors import StartRefused
from devstack.stack import maven, postgres_versions
from devstack.stack.native import NativeStack
from devstack.stack.recipe import StackFailed
from spindle.stopping import stop_on_sigterm
from tests.servers import brokers, containers, native, servers
from tests.servers.native import NativeRun, OwnNeo4j, OwnPostgres, OwnRabbitMQ
from tests.servers.tls import Certificates


def pytest_configure() -> None:
    """End as on Ctrl-C when told to end, so that the servers end too. Judge no example by the machine's speed.

    A JVM that lives for a test takes half of the CPU time if it compiles nothing to the utmost (measured: 13 to 6 s for
    the first start of a Neo4j, 10 to 5 s for its first 20,000 records), and a tenth less with the simplest collector
    (26.8 to 24.1 s for two files of the graph's tests). And what one process has compiled of our modules the hundreds
    after it find, also where the environment forbids to keep it.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
    os.environ.setdefault("NEO4J_COLLECTOR", "SerialGC")  # only what devstack starts natively reads it
    hypothesis_settings.register_profile("spindle", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    hypothesis_settings.load_profile("spindle")
    stop_on_sigterm()


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Logging as the test found it: a command that is run in this process configures it for all that come after."""
    root, before = logging.getLogger(), structlog.get_config()
    level, handlers = root.level, root.handlers[:]
    yield
    structlog.configure(**before)
    logging.captureWarnings(False)
    root.setLevel(level)
    # pytest's own come and go with each phase of a test
    pytests = [each for each in root.handlers if type(each).__module__.startswith("_pytest")]
    root.handlers[:] = [*pytests, *(each for each in handlers if not type(each).__module__.startswith("_pytest"))]


@pytest.fixture(scope="module", autouse=True)
def no_queue_left_behind() -> Iterator[None]:
    """What a file's tests have declared on the shared brokers goes with its last test."""
    yield
    servers.remove_queues()


@pytest.fixture(scope="session")
def native_run() -> Iterator[NativeRun]:
    """The folder for this run's native servers."""
    run = NativeRun()
    try:
        yield run
    finally:
        run.close()


@pytest.fixture(scope="session")
def rabbitmq(request: pytest.FixtureRequest) -> Iterator[servers.RabbitMQ]:
    """A broker with a vhost of this run."""
    with ExitStack() as stack:
        broker = servers.named_rabbitmq()
        if broker is None and _in_container("rabbitmq"):
            broker = stack.enter_context(brokers.container_broker(containers.image("rabbitmq")))
        if broker is None:
            broker = brokers.native_broker(_native(request, "rabbitmq").start("shared", "rabbitmq").place)
        yield stack.enter_context(servers.vhost_of_this_run(broker))


@pytest.fixture(scope="session")
def other_brokers() -> Iterator[tuple[dict[str, servers.RabbitMQ], ExitStack]]:
    """Brokers of further versions by their versions: they outlive `each_rabbitmq`, which comes and goes by file."""
    with ExitStack() as stack:
        yield {}, stack


@pytest.fixture(scope="session", params=brokers.VERSIONS)
def each_rabbitmq(
    request: pytest.FixtureRequest,
    rabbitmq: servers.RabbitMQ,
    other_brokers: tuple[dict[str, servers.RabbitMQ], ExitStack],
) -> servers.RabbitMQ:
    """A broker of each version, with a vhost of this run; the shared one where it is of that version."""
    version, image = request.param, containers.rabbitmq_image(request.param)
    others, stack = other_brokers
    if version not in others:
        broker = rabbitmq
        if brokers.version_of(rabbitmq) != version:
            if _is_native(version):
                other = brokers.native_broker(_native(request, "rabbitmq").start("shared", "rabbitmq").place)
            elif _may_be_container() and containers.has_image(image):
                other = stack.enter_context(brokers.container_broker(image))
            else:
                pytest.skip(f"no RabbitMQ {version} here: not installed, and {_why_no_container(image)}")
            broker = stack.enter_context(servers.vhost_of_this_run(other))
        assert brokers.version_of(broker) == version
        others[version] = broker
    return others[version]


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[servers.Postgres]:
    """A PostgreSQL database of this run."""
    with ExitStack() as stack:
        server = servers.named_postgres()
        if server is None and _in_container("postgres"):
            server = stack.enter_context(containers.postgres_container())
        if server is None:
            server = native.postgres_at(_native(request, "postgres").start("shared", "postgres").place)
        yield stack.enter_context(servers.database_of_this_run(server))


@pytest.fixture(scope="session", params=[min(postgres_versions.VERSIONS), max(postgres_versions.VERSIONS)])
def each_postgres(request: pytest.FixtureRequest, postgres: servers.Postgres) -> Iterator[servers.Postgres]:
    """A database of the oldest and of the newest version: the shared one where it is of that version, else native.

    `POSTGRES_VERSION` makes the shared one another.
    """
    version: str = request.param
    with ExitStack() as stack:
        server = postgres
        if server.version() != version:
            run = _native(request, "postgres", otherwise=pytest.skip)
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv(postgres_versions.VARIABLE, version)
                try:
                    member = run.start(f"postgres-{version}", "postgres")
                except (StartRefused, StackFailed) as error:
                    pytest.skip(f"no PostgreSQL {version} here: {error}")
            server = stack.enter_context(servers.database_of_this_run(native.postgres_at(member.place)))
        assert server.version() == version
        yield server


@pytest.fixture(scope="session")
def neo4j(request: pytest.FixtureRequest) -> Iterator[servers.Neo4j]:
    """A Neo4j database, emptied when the run first asks for it."""
    with ExitStack() as stack:
        server = servers.named_neo4j()
        if server is None and _in_container("neo4j"):
            server = stack.enter_context(containers.neo4j_container())
        if server is None:
            server = native.neo4j_at(_native(request, "neo4j").start("shared", "neo4j").place)
        server.empty()
        yield server


@pytest.fixture
def empty_neo4j(neo4j: servers.Neo4j) -> servers.Neo4j:
    """The shared Neo4j without a node."""
    neo4j.empty()
    return neo4j


@pytest.fixture(scope="session", params=list(maven.VERSIONS))
def each_neo4j(request: pytest.FixtureRequest, neo4j: servers.Neo4j) -> servers.Neo4j:
    """A Neo4j of each version; the shared one where it is of that version, else a native one."""
    version: str = request.param
    if neo4j.version().startswith(version):
        return neo4j
    run = _native(request, "neo4j", otherwise=pytest.skip)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(maven.VARIABLE, version)
        try:
            server = native.neo4j_at(run.start(f"neo4j-{version}", "neo4j").place)
        except StartRefused as error:
            pytest.skip(f"no Neo4j {version} here: {error}")
    assert server.version().startswith(version)
    return server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority's certificates, good ones and bad ones."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def own_rabbitmq(request: pytest.FixtureRequest) -> Iterator[OwnRabbitMQ]:
    """A broker of this test's own, with a fresh vhost."""
    member = _native(request, "rabbitmq", otherwise=pytest.skip).start("own", "rabbitmq")
    with servers.vhost_of_this_run(native.rabbitmq_at(member.place)) as broker:
        server = OwnRabbitMQ(member, broker)
        yield server
        member.thaw()
        if server.is_alarmed:
            brokers.native_broker(member.place).rabbitmqctl("set_vm_memory_high_watermark", "0.4")


@pytest.fixture
def own_postgres(request: pytest.FixtureRequest) -> Iterator[OwnPostgres]:
    """A PostgreSQL of this test's own, with a fresh database."""
    member = _native(request, "postgres", otherwise=pytest.skip).start("own", "postgres")
    with servers.database_of_this_run(native.postgres_at(member.place)) as server:
        yield OwnPostgres(member, server)
        member.thaw()


@pytest.fixture
def own_neo4j(request: pytest.FixtureRequest) -> Iterator[OwnNeo4j]:
    """A Neo4j of this test's own, emptied."""
    member = _native(request, "neo4j", otherwise=pytest.skip).start("own", "neo4j")
    server = native.neo4j_at(member.place)
    server.empty()
    yield OwnNeo4j(member, server)
    member.thaw()


@pytest.fixture
def private_stack(request: pytest.FixtureRequest) -> Iterator[NativeStack]:
    """An empty native stack; whatever the test starts in it is stopped, and the data removed."""
    stack = _native(request, "postgres", otherwise=pytest.skip).stack(f"private-{secrets.token_hex(4)}")
    yield stack
    stack.kill()
    stack.erase()


def _in_container(server: str) -> bool:
    return _may_be_container() and containers.has_container(server)


def _may_be_container() -> bool:
    return os.environ.get("TEST_SERVERS") != "native"


def _why_no_container(image: str) -> str:
    return f"no container engine that has {image}" if _may_be_container() else "TEST_SERVERS=native"


def _is_native(version: str) -> bool:
    return os.environ.get("TEST_SERVERS") != "containers" and brokers.native_version() == version


def _native(request: pytest.FixtureRequest, server: str, otherwise: object = pytest.fail) -> NativeRun:
    reason = native.reason_against_native(server)
    if os.environ.get("TEST_SERVERS") == "containers":
        reason = "TEST_SERVERS=containers forbids native servers"
    if reason is not None:
        otherwise(f"no {server} for this test: {reason}")  # type: ignore[operator]
    run: NativeRun = request.getfixturevalue("native_run")
    return run
