"""RabbitMQ's shipped permissions: each login does its work with them, with no part less, and nothing beyond."""

import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import pytest
from aiormq.exceptions import ChannelAccessRefused

from common.delivery import Properties
from common.errors import SpindleError
from common.kinds import Names, Service
from common.ops.checks import State
from common.rabbitmq.ops.doctor import check_broker
from common.rabbitmq.ops.fates import Drop, Fate, Send
from common.rabbitmq.ops.permissions import Login
from common.rabbitmq.ops.queue_reader import StoredLetter
from common.rabbitmq.ops.rotation import go_through
from common.rabbitmq.publishing.publisher import Outgoing, Publisher
from common.rabbitmq.topology import declare, declare_exchanges, queue_lengths
from common.settings.tls import TlsSettings
from spindle.management import Management, NoManagement
from tests.servers import grants, servers
from tests.servers.amqp import Peer, new_names, peer_of, settings
from tests.servers.brokers import version_of
from tests.servers.grants import Logins

KIND = "artists"
PARTS = {
    "anything": None,
    "graphinator": ("graphinator|tableinator", "tableinator"),
    "tableinator": ("graphinator|tableinator", "graphinator"),
    "dead-letter exchanges": (r"(\.dlx|\.dlq)?", r"(\.dlq)?"),
    "dead-letter queues": (r"(\.dlx|\.dlq)?", r"(\.dlx)?"),
    "dead-letter exchanges alone": (r"(\.dlx)?", ""),
    "queues": (r"(\.dlx|\.dlq)?$", r"(\.dlx|\.dlq)$"),
    "queues and exchanges": (r"(\.dlx)?$", r"(\.dlx)$"),
    "exchanges": ("tableinator)-)?", "tableinator)-)"),
    "the dead-letter queues": (r"(\.dlq)?", ""),
    "all but dead-letter queues": (r"(\.dlq)?$", r"(\.dlq)$"),
}
"""What a pattern may be cut by: a part, and what is left in its place."""

LOOKING = {(role, "write", each) for role in ("extractor", "operator") for each in ("graphinator", "tableinator")}
"""Beside monitoring's: what is granted for looks alone, which brokers before 4.2.6 grant to everybody."""


@dataclass(frozen=True, slots=True)
class Actions:
    """A vhost, names of this test's own in it, and the shipped logins."""

    broker: servers.RabbitMQ
    logins: Logins
    names: Names

    @property
    def looks_are_checked(self) -> bool:
        """Whether one must be granted something on a queue to see whether it exists."""
        return version_of(self.broker) == "4.3"

    def grant(self, **changed: Mapping[str, str]) -> None:
        """Grant as shipped, but for what is given here."""
        grants.grant(self.broker, self.logins, grants.permissions(self.names) | changed)

    async def make(self) -> None:
        """Have everything declared, by an administrator."""
        async with peer_of(self.broker.url) as peer:
            for service in Service:
                await declare(peer.connection, self.names, service, KIND)

    async def publish(self, exchange: str) -> None:
        """Publish a message, as an administrator."""
        async with peer_of(self.broker.url) as peer:
            await peer.publish(exchange, b"{}")

    def url(self, role: str) -> str:
        """Where a role logs in."""
        return self.logins.url(self.broker, role)


@pytest.fixture(scope="module")
def users(each_rabbitmq: servers.RabbitMQ) -> Iterator[tuple[servers.RabbitMQ, Logins]]:
    """The shipped users, and a vhost."""
    logins = Logins(f"g{secrets.token_hex(4)}_")
    with servers.vhost_of_this_run(each_rabbitmq) as vhost:
        grants.add_users(vhost, logins)
        yield vhost, logins
        grants.remove_users(vhost, logins)


@pytest.fixture
def desk(users: tuple[servers.RabbitMQ, Logins]) -> Actions:
    broker, logins = users
    return Actions(broker, logins, new_names())


# ---- the work of each login; what is refused raises ----


async def first_start(desk: Actions) -> None:
    async with peer_of(desk.url("setup")) as peer:
        for service in Service:
            await declare(peer.connection, desk.names, service, KIND)


async def consuming(desk: Actions) -> None:
    await desk.make()
    await desk.publish(desk.names.exchange(KIND))
    async with peer_of(desk.url("services")) as peer:
        for service in Service:
            await declare(peer.connection, desk.names, service, KIND)
            assert len(await peer.get_all(desk.names.queue(service, KIND))) == 1
            await peer.publish(desk.names.dead_letter_exchange(service, KIND), b"letter")
            assert await peer.ready(desk.names.dead_letter_queue(service, KIND)) == 1


async def extracting(desk: Actions) -> None:
    await desk.make()
    broker = settings(desk.url("extractor"))
    assert await declare_exchanges(broker, desk.names, [KIND]) == []
    async with Publisher(broker, max_unconfirmed=10, name="test", patience=10.0) as publisher:
        await publisher.publish(desk.names.exchange(KIND), [Outgoing(b"{}", "", {})])
        await publisher.flush()
    queues = [desk.names.queue(service, KIND) for service in Service]
    assert await queue_lengths(broker, queues) == dict.fromkeys(queues, 1)


async def working_on_letters(desk: Actions) -> None:
    await desk.make()
    broker = settings(desk.url("operator"))
    for service in Service:
        await desk.publish(desk.names.dead_letter_exchange(service, KIND))
        queue = desk.names.queue(service, KIND)
        fates: list[Fate] = [Send(queue, Properties(), lambda _: None), Drop()]
        for fate in fates:
            await go_through(broker, desk.names.dead_letter_queue(service, KIND), partial(_fated, fate))
        assert await queue_lengths(broker, [queue]) == {queue: 1}  # as a repair looks before it publishes
    async with Publisher(broker, max_unconfirmed=10, name="test", patience=10.0) as publisher:
        await publisher.publish(desk.names.exchange(KIND), [Outgoing(b"{}", "", {})])  # as `spindle load` announces
        await publisher.flush()


def _fated(fate: Fate, _: StoredLetter) -> Fate:
    return fate


async def watching(desk: Actions) -> None:
    await desk.make()
    queues = [name(service, KIND) for name in (desk.names.queue, desk.names.dead_letter_queue) for service in Service]
    assert await queue_lengths(settings(desk.url("monitoring")), queues) == dict.fromkeys(queues, 0)


WORK: dict[str, Callable[[Actions], Awaitable[None]]] = {
    "setup": first_start,
    "services": consuming,
    "extractor": extracting,
    "operator": working_on_letters,
    "monitoring": watching,
}


@pytest.mark.parametrize("role", WORK)
async def test_with_the_shipped_permissions_each_login_does_its_work(desk: Actions, role: str) -> None:
    desk.grant()

    await WORK[role](desk)


def cuts() -> Iterator[tuple[str, str, str]]:
    """Every login and right with every part that its pattern has."""
    for role, rights in grants.permissions().items():
        for right, pattern in rights.items():
            for name, part in PARTS.items():
                if pattern and (part is None or part[0] in pattern):
                    yield role, right, name


@pytest.mark.parametrize(("role", "right", "part"), list(cuts()))
async def test_without_any_part_of_its_permissions_a_login_is_refused(
    desk: Actions, role: str, right: str, part: str
) -> None:
    if (role == "monitoring" or (role, right, part) in LOOKING) and not desk.looks_are_checked:
        pytest.skip("this broker lets everybody look whether a queue exists")
    shipped = grants.permissions(desk.names)[role]
    replaced = PARTS[part]
    desk.grant(**{role: shipped | {right: "" if replaced is None else shipped[right].replace(*replaced)}})

    with pytest.raises((SpindleError, ChannelAccessRefused), match="ACCESS_REFUSED"):
        await WORK[role](desk)


# ---- and nothing beyond ----


async def _publish_to_queue(peer: Peer, names: Names) -> None:
    channel = await peer.connection.channel()
    await channel.basic_publish(b"{}", exchange="", routing_key=names.queue(Service.TABLEINATOR, KIND))


def _queue(names: Names) -> str:
    return names.queue(Service.TABLEINATOR, KIND)


def _letters(names: Names) -> str:
    return names.dead_letter_queue(Service.TABLEINATOR, KIND)


ACTS: dict[str, Callable[[Peer, Names], Awaitable[object]]] = {
    "take a record": lambda peer, names: peer.get_all(_queue(names)),
    "take a dead letter": lambda peer, names: peer.get_all(_letters(names)),
    "publish a record": lambda peer, names: peer.publish(names.exchange(KIND), b"{}"),
    "publish a letter": lambda peer, names: peer.publish(f"{_queue(names)}.dlx", b"{}"),
    "publish to a queue": _publish_to_queue,
    "bind a queue": lambda peer, names: peer.bind(_queue(names), names.exchange(KIND)),
    "make a queue": lambda peer, names: peer.declare_queue(f"{_queue(names)}s"),
    "make somebody else's queue": lambda peer, names: peer.declare_queue(f"my-{_queue(names)}"),
    "delete a queue": lambda peer, names: peer.delete_queue(_queue(names)),
    "delete dead letters": lambda peer, names: peer.delete_queue(_letters(names)),
    "delete an exchange": lambda peer, names: peer.delete_exchange(names.exchange(KIND)),
}
ALLOWED = {
    "setup": {"take a record", "publish a letter", "bind a queue", "make a queue"}
    | {"delete a queue", "delete dead letters", "delete an exchange"},
    "services": {"take a record", "publish a letter", "bind a queue"},
    "extractor": {"publish a record"},
    "operator": {"take a dead letter", "publish a record", "publish to a queue"},
    "monitoring": set[str](),
}
"""Whoever may make a queue may delete it: hence the login for the first start alone."""


@pytest.mark.parametrize("role", ALLOWED)
async def test_a_login_may_do_these_things_and_no_other(desk: Actions, role: str) -> None:
    desk.grant()
    await desk.make()

    done = set()
    for name, act in ACTS.items():
        async with peer_of(desk.url(role)) as peer:
            try:
                await act(peer, desk.names)
            except ChannelAccessRefused:
                continue
        done.add(name)

    assert done == ALLOWED[role]


# ---- what doctor and status see with these logins ----


async def test_doctor_finds_each_login_in_order_and_names_the_shipped_file_to_another(desk: Actions) -> None:
    desk.grant()

    async def permissions(role: str, login_of: Login, name: str = "permissions") -> tuple[State, str]:
        checks = await check_broker(settings(desk.url(role)), desk.names, [KIND], login_of)
        return next((check.state, check.sentence) for check in checks if check.name == name)

    before = [await permissions(role, Login.SERVICES) for role in ("setup", "services")]
    await desk.make()
    after = [await permissions("services", Login.SERVICES), await permissions("extractor", Login.EXTRACTOR)]
    others = [await permissions("extractor", Login.SERVICES), await permissions("services", Login.EXTRACTOR)]
    others.append(await permissions("services", Login.ALL))

    assert [state for state, _ in before] == [State.OK, State.FAILED]  # nobody has made the queues yet
    assert [state for state, _ in after] == [State.OK, State.OK]
    assert [state for state, _ in others] == [State.FAILED] * 3
    assert all("deploy/grants/rabbitmq.json" in sentence for _, sentence in others)
    assert "is as ours would be" in (await permissions("setup", Login.SERVICES, "queues"))[1]
    assert "does not say how they were made" in (await permissions("services", Login.SERVICES, "queues"))[1]


async def test_a_refused_start_and_a_refused_turn_name_the_shipped_file(desk: Actions) -> None:
    desk.grant()

    async with peer_of(desk.url("services")) as peer:
        with pytest.raises(SpindleError, match=r"deploy/grants/rabbitmq\.json"):
            await declare(peer.connection, desk.names, Service.TABLEINATOR, KIND)
    await desk.make()
    with pytest.raises(SpindleError, match=r"spindle_operator in deploy/grants/rabbitmq\.json"):
        await go_through(settings(desk.url("services")), _letters(desk.names), lambda _: Drop())


async def test_monitoring_sees_queues_and_alarms_by_its_tag_and_its_place_in_the_vhost(desk: Actions) -> None:
    desk.grant()
    vhost = desk.broker.url.rpartition("/")[2]
    management = Management(
        desk.broker.management_url, (desk.logins.of("monitoring"), grants.PASSWORD), vhost, TlsSettings()
    )
    untagged = Management(
        desk.broker.management_url, (desk.logins.of("services"), grants.PASSWORD), vhost, TlsSettings()
    )

    (node,) = management.nodes()
    assert node["name"]
    assert not node.get("mem_alarm")  # a broker that has just started has not measured yet
    await watching(desk)
    with pytest.raises(NoManagement):
        untagged.nodes()
    desk.broker.api("DELETE", f"permissions/{vhost}/{desk.logins.of('monitoring')}")
    with pytest.raises(SpindleError, match="virtual host"):
        await watching(desk)
