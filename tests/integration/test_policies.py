"""What operators set for queues, as doctor, status and the command for dead letters name it; on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.error import URLError
from urllib.parse import unquote, urlsplit

import pytest

from common.kinds import Names
from common.ops.checks import State
from common.rabbitmq.ops.fates import Fate, Keep
from common.rabbitmq.topology import declare
from common.settings.environment import load
from spindle.dead_letters.letter import Letter
from spindle.dead_letters.policies import limits_of_letters, warnings
from spindle.dead_letters.sweep import Passage
from spindle.doctor.policies import policy_checks
from spindle.management import Management
from spindle.settings import OperatorSettings
from spindle.status.broker import look_at_broker
from tests.integration.test_dead_letters import CHOICE, KIND, SERVICE, ids, letters, set_aside
from tests.servers.amqp import Peer, new_names, peer_of, settings
from tests.servers.servers import RabbitMQ

POLICIES: Mapping[str, Mapping[str, Any]] = {
    "ttl": {"message-ttl": 3_600_000},
    "expires": {"expires": 3_600_000},
    "length": {"max-length": 300, "overflow": "drop-head"},
    "refusing": {"max-length": 300, "overflow": "reject-publish"},
    "limit": {"delivery-limit": 3},
    "retry": {"delayed-retry-type": "all", "delayed-retry-min": 5000},
    "timeout": {"consumer-timeout": 60_000},
    "harmless": {"dead-letter-strategy": "at-most-once"},
}
DELETING = {"ttl", "expires", "length", "limit"}
NEW_IN_4_3 = {"retry", "timeout"}


@pytest.fixture
async def peer(rabbitmq: RabbitMQ) -> AsyncIterator[Peer]:
    if not rabbitmq.management_url:
        pytest.skip("needs RabbitMQ's management API, to set policies")
    async with peer_of(rabbitmq.url) as peer:
        yield peer


def environment(rabbitmq: RabbitMQ, names: Names) -> dict[str, str]:
    return {
        "RABBITMQ_URL": rabbitmq.url,
        "RABBITMQ_MANAGEMENT_URL": rabbitmq.management_url,
        "DISCOGS_EXCHANGE_PREFIX": names.prefix,
        "KINDS": KIND,
        "STATUS_GRAPHINATOR": "none",
        "STATUS_TABLEINATOR": "none",
    }


async def set_policies(rabbitmq: RabbitMQ, peer: Peer, wanted: set[str]) -> dict[str, Names]:
    """Queues of their own under each policy; returns when the broker's management tells of all."""
    vhost, placed = unquote(urlsplit(rabbitmq.url).path[1:]), {}
    for name in sorted(wanted):
        names = placed[name] = new_names()
        try:
            content = {"pattern": f"^{names.prefix}-", "definition": POLICIES[name], "apply-to": "queues"}
            rabbitmq.api("PUT", f"policies/{vhost}/{names.prefix}", content)
        except URLError:
            assert name in NEW_IN_4_3  # an older broker knows no such thing
            del placed[name]
            continue
        await declare(peer.connection, names, SERVICE, KIND)
    async with asyncio.timeout(60.0):
        for names in placed.values():
            management = Management.of(load(OperatorSettings, environment(rabbitmq, names)))
            while sum(bool(queue.policy) for queue in management.limits(names.prefix)) < 2:
                await asyncio.sleep(0.2)  # it looks at queues every five seconds
    return placed


async def test_doctor_status_and_a_list_name_each_policy_that_breaks_a_promise(rabbitmq: RabbitMQ, peer: Peer) -> None:
    placed = await set_policies(rabbitmq, peer, set(POLICIES))

    for name, names in placed.items():
        environ = environment(rabbitmq, names)
        operator = load(OperatorSettings, environ)
        checks = policy_checks(Management.of(operator), operator)
        state = await look_at_broker(operator)
        limits = await limits_of_letters(environ)
        said = warnings(limits, [names.dead_letter_queue(SERVICE, KIND)])
        for check in checks:
            print(f"{name}: {check.state}: {check.sentence}")

        deletes = name in DELETING
        assert any(check.state is State.FAILED for check in checks) is deletes, name
        assert all(next(iter(POLICIES[name])) in check.sentence for check in checks if check.state is not State.OK)
        assert all(check.state is State.OK for check in checks) is (name == "harmless"), name
        assert (bool(state.deleting), bool(said)) == (deletes, deletes), name


async def test_a_policy_that_waits_for_our_queues_is_named_before_they_are_there(
    rabbitmq: RabbitMQ, peer: Peer
) -> None:
    vhost, names = unquote(urlsplit(rabbitmq.url).path[1:]), new_names()
    operator = load(OperatorSettings, environment(rabbitmq, names))
    before = policy_checks(Management.of(operator), operator)
    for name, priority in (("ttl", 0), ("harmless", 1)):
        content = {"pattern": f"^{names.prefix}-.*dlq$", "definition": POLICIES[name], "priority": priority}
        rabbitmq.api("PUT", f"policies/{vhost}/{names.prefix}-{name}", content | {"apply-to": "queues"})
    outranked = policy_checks(Management.of(operator), operator)
    rabbitmq.api("DELETE", f"policies/{vhost}/{names.prefix}-harmless")

    [named] = policy_checks(Management.of(operator), operator)

    assert [check.state for check in before + outranked] == [State.OK, State.OK]
    assert named.state is State.FAILED
    assert "message-ttl" in named.sentence


async def test_a_look_under_each_policy_loses_no_letter(rabbitmq: RabbitMQ, peer: Peer) -> None:
    """Fault 68: nor do eight, where what is given back three times is deleted."""
    placed = await set_policies(rabbitmq, peer, DELETING)

    for name, names in placed.items():
        await set_aside(peer, names, *range(300 if name == "length" else 30))
        limits = await limits_of_letters(environment(rabbitmq, names))
        seen: list[str] = []

        def judge(letter: Letter, seen: list[str] = seen) -> Fate:
            seen.append(letter.id)
            return Keep()

        for _ in range(8):
            seen.clear()
            looking = Passage(settings(rabbitmq.url), names, CHOICE, limits=limits)
            await looking.go(judge)

        count = 300 if name == "length" else 30
        assert sorted(seen, key=int) == [str(number) for number in range(count)], name
        assert ids(await letters(peer, names)) == [str(number) for number in range(count)], name
        assert bool(looking.said) is (name in ("ttl", "length")), name


def test_without_a_management_api_nothing_is_said_of_policies() -> None:
    environ = {"RABBITMQ_MANAGEMENT_URL": "none"}

    assert asyncio.run(limits_of_letters(environ)) == {}
