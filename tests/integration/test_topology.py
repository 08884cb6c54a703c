"""Exchanges, queues and bindings on a real broker, made or adopted."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from common.errors import BrokerUnavailable, StartRefused
from common.kinds import KINDS, Names, Service
from common.rabbitmq.connection import connect, connected
from common.rabbitmq.topology import declare, declare_exchanges, queue_lengths
from common.settings.programs import BrokerSettings
from tests.servers.amqp import Peer, new_names, peer_of, proxied, settings
from tests.servers.brokers import Broker
from tests.servers.servers import RabbitMQ

SERVICE, KIND = Service.GRAPHINATOR, "artists"


@pytest.fixture
async def peer(rabbitmq: RabbitMQ) -> AsyncIterator[Peer]:
    async with peer_of(rabbitmq.url) as peer:
        yield peer


@pytest.fixture
def names() -> Names:
    return new_names()


def described(rabbitmq: RabbitMQ, queue: str) -> Any:
    """The broker's own description of a queue."""
    vhost = rabbitmq.url.rpartition("/")[2]
    return rabbitmq.api("GET", f"queues/{vhost}/{queue}")


# Made.


async def test_everything_is_made_as_the_wire_format_says(rabbitmq: RabbitMQ, peer: Peer, names: Names) -> None:
    """Fault 20."""
    differences = (await declare(peer.connection, names, SERVICE, KIND)).differences

    assert differences == []
    queue = described(rabbitmq, names.queue(SERVICE, KIND))
    assert (queue["durable"], queue["type"]) == (True, "quorum")
    assert queue["arguments"]["x-dead-letter-exchange"] == names.dead_letter_exchange(SERVICE, KIND)
    dead_letters = described(rabbitmq, names.dead_letter_queue(SERVICE, KIND))
    assert (dead_letters["durable"], dead_letters["type"]) == (True, "quorum")


async def test_a_delivery_limit_of_minus_one_is_set_where_it_means_none(
    rabbitmq: RabbitMQ, peer: Peer, names: Names
) -> None:
    """Fault 28."""
    await declare(peer.connection, names, SERVICE, KIND)

    expected = -1 if peer.connection.broker_version >= (4, 0) else None  # on 3.x it would drop at the first return
    for queue in (names.queue(SERVICE, KIND), names.dead_letter_queue(SERVICE, KIND)):
        assert described(rabbitmq, queue)["arguments"].get("x-delivery-limit") == expected


async def test_a_record_reaches_the_queue_and_a_rejected_one_the_dead_letters(peer: Peer, names: Names) -> None:
    await declare(peer.connection, names, SERVICE, KIND)
    await peer.publish(names.exchange(KIND), b"one", b"two")

    channel = await peer.connection.channel(publisher_confirms=False)
    message = await channel.basic_get(names.queue(SERVICE, KIND))
    await channel.basic_reject(message.delivery_tag or 0, requeue=False)
    await channel.close()

    assert [each.body for each in await peer.get_all(names.queue(SERVICE, KIND))] == [b"two"]
    assert [each.body for each in await peer.get_all(names.dead_letter_queue(SERVICE, KIND))] == [b"one"]


async def test_declaring_again_changes_nothing_and_differs_in_nothing(peer: Peer, names: Names) -> None:
    await declare(peer.connection, names, SERVICE, KIND)
    await peer.publish(names.exchange(KIND), b"one")

    assert (await declare(peer.connection, names, SERVICE, KIND)).differences == []
    assert await peer.ready(names.queue(SERVICE, KIND)) == 1


async def test_no_channel_is_left_over(peer: Peer, names: Names) -> None:
    await declare(peer.connection, names, SERVICE, KIND)

    assert [channel for channel in peer.connection.channels.values() if channel] == []


# Adopted.


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"x-queue-type": "classic"}, ["x-queue-type is classic", "x-dead-letter-exchange is unset"]),
        ({}, ["x-dead-letter-exchange is unset"]),
        ({"x-queue-type": "quorum", "x-dead-letter-exchange": "other's.dlx"}, ["is other's.dlx, not"]),
        (
            {"x-queue-type": "quorum", "x-max-length": 100000, "x-overflow": "reject-publish"},
            ["x-max-length is 100000, not unset", "x-overflow is reject-publish"],
        ),
        ({"x-queue-type": "quorum", "x-single-active-consumer": True}, ["x-single-active-consumer is True"]),
        ({"x-queue-type": "classic", "x-message-ttl": 3_600_000, "x-max-priority": 5}, ["x-message-ttl is 3600000"]),
        ({"x-queue-type": "classic", "x-queue-mode": "lazy"}, ["x-queue-mode is lazy"]),
    ],
)
async def test_a_queue_with_other_arguments_is_adopted_and_each_difference_named(
    peer: Peer, names: Names, arguments: dict[str, Any], named: list[str]
) -> None:
    queue = names.queue(SERVICE, KIND)
    await peer.declare_queue(queue, arguments)

    differences = "; ".join((await declare(peer.connection, names, SERVICE, KIND)).differences)

    for words in named:
        assert words in differences
    await peer.publish(names.exchange(KIND), b"one")
    assert await peer.ready(queue) == 1


async def test_a_limit_that_drops_is_named_with_the_command_that_mends_it(
    rabbitmq: RabbitMQ, peer: Peer, names: Names
) -> None:
    queue = names.queue(SERVICE, KIND)
    await peer.declare_queue(queue, {"x-queue-type": "quorum", "x-delivery-limit": 20})

    differences = (await declare(peer.connection, names, SERVICE, KIND)).differences

    (advice,) = [each for each in differences if "set_policy" in each]
    vhost = peer.connection.vhost
    assert f"queue {queue}: a record returned 20 times is dropped" in advice
    assert f"rabbitmqctl set_policy --vhost '{vhost}' --apply-to queues '{queue}'" in advice
    assert f'{{"dead-letter-exchange":"{queue}.dlx"}}' in advice


async def test_the_command_that_mends_a_limit_keeps_the_record(rabbitmq: RabbitMQ, peer: Peer, names: Names) -> None:
    queue = names.queue(SERVICE, KIND)
    await peer.declare_queue(queue, {"x-queue-type": "quorum", "x-delivery-limit": 1})
    differences = (await declare(peer.connection, names, SERVICE, KIND)).differences
    (advice,) = [each for each in differences if "set_policy" in each]
    pattern, definition = advice.split("'")[-4], advice.split("'")[-2]
    apply_policy(rabbitmq, queue, pattern, definition)
    await peer.publish(names.exchange(KIND), b"one")

    channel = await peer.connection.channel(publisher_confirms=False)
    for _ in range(4):
        message = await channel.basic_get(queue)
        if message.delivery_tag is None:
            break
        await channel.basic_reject(message.delivery_tag, requeue=True)

    assert [each.body for each in await peer.get_all(names.dead_letter_queue(SERVICE, KIND))] == [b"one"]


async def test_a_limit_with_a_dead_letter_exchange_needs_no_advice(peer: Peer, names: Names) -> None:
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 20, "x-dead-letter-exchange": "any"}
    await peer.declare_queue(names.queue(SERVICE, KIND), arguments)

    differences = (await declare(peer.connection, names, SERVICE, KIND)).differences

    assert not [each for each in differences if "set_policy" in each]


@pytest.mark.parametrize(("kind", "more"), [("direct", {}), ("topic", {}), ("fanout", {"durable": False})])
async def test_an_exchange_of_another_sort_is_adopted(
    peer: Peer, names: Names, kind: str, more: dict[str, Any]
) -> None:
    await peer.declare_exchange(names.exchange(KIND), kind, **more)

    differences = (await declare(peer.connection, names, SERVICE, KIND)).differences

    assert len(differences) == 1
    await peer.publish(names.exchange(KIND), b"one")
    assert await peer.ready(names.queue(SERVICE, KIND)) == 1


async def test_a_difference_too_long_for_the_broker_to_name_does_not_end_the_start(peer: Peer) -> None:
    names = Names(f"{new_names().prefix}-{'x' * 80}")
    await peer.declare_queue(
        names.queue(SERVICE, KIND), {"x-queue-type": "quorum", "x-dead-letter-exchange": "y" * 200}
    )

    differences = (await declare(peer.connection, names, SERVICE, KIND)).differences

    assert any("x-dead-letter-exchange" in each for each in differences)


# Refused.


@pytest.mark.parametrize(
    ("flags", "arguments", "why"),
    [
        ({"durable": False}, {}, "not durable"),
        ({"auto_delete": True}, {}, "last consumer"),
        ({}, {"x-queue-type": "stream"}, "a stream"),
    ],
)
async def test_a_queue_that_can_not_be_used_ends_the_start_by_name(
    peer: Peer, names: Names, flags: dict[str, Any], arguments: dict[str, Any], why: str
) -> None:
    queue = names.queue(SERVICE, KIND)
    await peer.declare_queue(queue, arguments, **flags)

    with pytest.raises(StartRefused, match=f"{queue}.*{why}"):
        await declare(peer.connection, names, SERVICE, KIND)


async def test_an_exclusive_queue_ends_the_start_by_name(rabbitmq: RabbitMQ, peer: Peer, names: Names) -> None:
    queue = names.queue(SERVICE, KIND)
    await peer.declare_queue(queue, exclusive=True)

    async with connected(settings(rabbitmq.url), name="another") as connection:
        with pytest.raises(StartRefused, match=f"{queue}.*exclusive"):
            await declare(connection, names, SERVICE, KIND)


async def test_a_dead_letter_queue_that_can_not_be_used_ends_the_start_too(peer: Peer, names: Names) -> None:
    queue = names.dead_letter_queue(SERVICE, KIND)
    await peer.declare_queue(queue, durable=False)

    with pytest.raises(StartRefused, match=queue):
        await declare(peer.connection, names, SERVICE, KIND)


async def test_missing_permission_ends_the_start_with_what_is_missing(rabbitmq: RabbitMQ, names: Names) -> None:
    with user_of(rabbitmq, "no-rights-secret", configure="") as user:
        url = f"amqp://{user}:no-rights-secret@{rabbitmq.url.rpartition('@')[2]}"
        async with connected(settings(url), name="test") as connection:
            with pytest.raises(StartRefused, match="permission to configure") as refused:
                await declare(connection, names, SERVICE, KIND)

    assert "no-rights-secret" not in str(refused.value)


@pytest.mark.parametrize("prefix", ["x" * 200, "a prefix?"])
async def test_a_name_that_amqp_can_not_say_is_a_sentence(peer: Peer, prefix: str) -> None:
    with pytest.raises(StartRefused, match="DISCOGS_EXCHANGE_PREFIX"):
        await declare(peer.connection, Names(prefix), SERVICE, KIND)


# Connecting.


async def test_a_refused_login_is_a_sentence_without_the_password(rabbitmq: RabbitMQ) -> None:
    address = rabbitmq.url.rpartition("@")[2]

    with pytest.raises(StartRefused, match="refused the login") as refused:
        await connect(settings(f"amqp://guest:hunter2@{address}"), name="test")

    assert "hunter2" not in str(refused.value)


async def test_a_vhost_that_is_not_there_is_a_sentence(rabbitmq: RabbitMQ) -> None:
    with pytest.raises(StartRefused, match=r"vhost nowhere not found.*RABBITMQ_VHOST"):
        await connect(settings(f"{rabbitmq.url.rpartition('/')[0]}/nowhere"), name="test")


async def test_a_broker_that_is_not_there_is_waited_for() -> None:
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1"):
        await connect(settings("amqp://guest:guest@127.0.0.1:1/"), name="test")


@pytest.mark.parametrize("scheme", ["amqp", "amqps"])
async def test_a_peer_that_accepts_and_says_nothing_is_noticed(rabbitmq: RabbitMQ, scheme: str) -> None:
    """Fault 45."""
    async with proxied(rabbitmq.url) as (url, proxy):
        proxy.freeze()
        silent = settings(url.replace("amqp:", f"{scheme}:"), connect_timeout=0.5)

        with pytest.raises(BrokerUnavailable, match="no answer in time"):
            await connect(silent, name="test")


async def test_the_heartbeat_holds_on_the_brokers_side(rabbitmq: RabbitMQ) -> None:
    """Fault 51."""
    async with connected(settings(rabbitmq.url, heartbeat=7), name="heartbeat-test"):
        timeout = await heartbeat_of("heartbeat-test", rabbitmq)

    assert timeout == 7


async def test_a_password_of_any_characters_logs_in(rabbitmq: RabbitMQ) -> None:
    password = "p@ss/w:rd%20#?&=é "
    address, _, vhost = rabbitmq.url.rpartition("@")[2].partition("/")
    host, _, port = address.partition(":")
    with user_of(rabbitmq, password) as user:
        settings = BrokerSettings(host=host, port=int(port), username=user, password=SecretStr(password), vhost=vhost)
        async with connected(settings, name="test") as connection:
            assert connection.is_opened


@contextmanager
def user_of(rabbitmq: RabbitMQ, password: str, *, configure: str = ".*") -> Iterator[str]:
    """Another user of the vhost."""
    vhost, name = rabbitmq.url.rpartition("/")[2], f"test-{secrets.token_hex(4)}"
    rabbitmq.api("PUT", f"users/{name}", {"password": password, "tags": ""})
    rabbitmq.api("PUT", f"permissions/{vhost}/{name}", {"configure": configure, "write": ".*", "read": ".*"})
    try:
        yield name
    finally:
        rabbitmq.api("DELETE", f"users/{name}")


async def heartbeat_of(name: str, rabbitmq: RabbitMQ) -> Any:
    """What the broker itself expects of a connection; it takes seconds until it shows it."""
    async with asyncio.timeout(20.0):
        while True:
            for each in await asyncio.to_thread(rabbitmq.api, "GET", "connections"):
                if each.get("client_properties", {}).get("connection_name") == name:
                    return each["timeout"]
            await asyncio.sleep(0.2)


# For a producer.


async def test_a_producer_declares_an_exchange_per_kind(rabbitmq: RabbitMQ, peer: Peer, names: Names) -> None:
    assert await declare_exchanges(settings(rabbitmq.url), names, KINDS) == []

    for kind in KINDS:  # a consumer that comes later finds them as it would have made them
        assert (await declare(peer.connection, names, SERVICE, kind)).differences == []


async def test_lengths_count_what_waits_and_tell_an_absent_queue_from_an_empty_one(
    rabbitmq: RabbitMQ, peer: Peer, names: Names
) -> None:
    await declare(peer.connection, names, SERVICE, KIND)
    await peer.publish(names.exchange(KIND), b"one", b"two")
    queues = [names.queue(SERVICE, KIND), names.dead_letter_queue(SERVICE, KIND), "nowhere"]

    expected = dict(zip(queues, [2, 0, None], strict=True))
    assert await queue_lengths(settings(rabbitmq.url), queues) == expected
    assert await queue_lengths(peer.connection, queues) == expected


async def test_a_queue_that_is_out_of_reach_is_not_taken_for_one_that_is_gone(each_rabbitmq: RabbitMQ) -> None:
    """Fault 62: its node is away, or its process has crashed, and to a passive declaration it is "not found" too."""
    if not isinstance(each_rabbitmq, Broker):
        pytest.skip("nobody lets us break the queues of a broker that the environment names")
    vhost, queue = each_rabbitmq.url.rpartition("/")[2], f"test-{secrets.token_hex(4)}"
    name = f'rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)'
    async with peer_of(each_rabbitmq.url) as peer:
        await peer.declare_queue(queue)
        await asyncio.to_thread(
            each_rabbitmq.rabbitmqctl,
            "eval",
            f"Crash = fun() -> rabbit_amqqueue:update({name}, fun(Q) -> amqqueue:set_state(Q, crashed) end) end, "
            "try Crash() catch exit:{aborted, no_transaction} -> rabbit_misc:execute_mnesia_transaction(Crash) end.",
        )
        with pytest.raises(BrokerUnavailable, match=f"NOT_FOUND.*{queue}"):
            await queue_lengths(peer.connection, [queue])


def apply_policy(rabbitmq: RabbitMQ, name: str, pattern: str, definition: str) -> None:
    """Do what `rabbitmqctl set_policy` does."""
    vhost = rabbitmq.url.rpartition("/")[2]
    body = {"pattern": pattern, "definition": json.loads(definition), "apply-to": "queues"}
    rabbitmq.api("PUT", f"policies/{vhost}/{name}", body)
