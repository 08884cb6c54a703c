"""What is said of a queue's policy and arguments."""

from collections.abc import Mapping
from typing import Any

import pytest

from common.rabbitmq.policies import QueueLimits, troubles

LETTERS, MAIN = "discogs-tableinator-artists.dlq", "discogs-tableinator-artists"
OURS: Mapping[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": -1}


def said(name: str, definition: Mapping[str, Any], arguments: Mapping[str, Any] = OURS) -> list[tuple[bool, str]]:
    if name == MAIN:
        arguments = {**arguments, "x-dead-letter-exchange": f"{MAIN}.dlx"}
    found = troubles([QueueLimits(name, arguments, definition, "policy 'all'")])
    return [(trouble.deletes, trouble.sentence) for trouble in found]


@pytest.mark.parametrize(
    ("definition", "letters", "main"),
    [
        ({"message-ttl": 4000}, "4 s is deleted for good (message-ttl of policy 'all')", "set aside unread"),
        ({"expires": 3_600_000}, "the queue is deleted, with everything in it, once nobody has used it for 1 h", "1 h"),
        ({"max-length": 3}, "beyond 3 messages the oldest are deleted for good", "the oldest are set aside unread"),
        ({"max-length-bytes": 1000}, "beyond 1,000 bytes the oldest are deleted", "set aside unread"),
        ({"delivery-limit": 5}, "given back more than 5 times is deleted", "set aside unread"),
        ({"max-length": 3, "overflow": "reject-publish"}, "no dead letter is taken", "publishing is refused"),
        ({"delayed-retry-type": "all", "delayed-retry-min": 5000}, "can't be seen for 5 s", "a newer version"),
        ({"consumer-timeout": 60_000}, "cut off", "HOLD_LIMIT must be below half"),
    ],
)
def test_a_policy_that_breaks_a_promise_is_named(definition: Mapping[str, Any], letters: str, main: str) -> None:
    ((_, of_letters),) = said(LETTERS, definition)
    ((_, of_main),) = said(MAIN, definition)

    assert of_letters.startswith(f"{LETTERS}: ") and letters in of_letters
    assert of_main.startswith(f"{MAIN}: ") and main in of_main
    assert "policy 'all'" in of_letters and "higher priority" in of_letters


@pytest.mark.parametrize("key", ["message-ttl", "expires", "max-length", "max-length-bytes", "delivery-limit"])
def test_only_what_deletes_is_said_to(key: str) -> None:
    ((deletes, _),) = said(LETTERS, {key: 10})
    ((moves, _),) = said(MAIN, {key: 10})

    assert deletes
    assert moves is (key == "expires")


@pytest.mark.parametrize(
    "definition",
    [{}, {"delivery-limit": -1}, {"delayed-retry-type": "disabled"}, {"consumer-timeout": 1_800_000}, {"ha-mode": "x"}],
)
def test_a_policy_that_breaks_nothing_is_not_named(definition: Mapping[str, Any]) -> None:
    assert said(LETTERS, definition) == said(MAIN, definition) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"x-message-ttl": 4000}, "deleted for good (argument x-message-ttl)."),
        ({"x-single-active-consumer": True}, "gets nothing while somebody else consumes"),
        ({"x-max-priority": 10}, "overtakes others"),
    ],
)
def test_an_argument_is_named_as_one(arguments: Mapping[str, Any], expected: str) -> None:
    ((_, sentence),) = said(LETTERS, {}, arguments)

    assert expected in sentence


def test_the_lower_of_policy_and_argument_holds() -> None:
    ((_, sentence),) = said(LETTERS, {"message-ttl": 9000}, {"x-message-ttl": 4000})

    assert "4 s" in sentence and "argument x-message-ttl" in sentence


def test_queues_with_the_same_trouble_share_a_sentence() -> None:
    queues = [QueueLimits(f"q{number}.dlq", {}, {"expires": 1000}) for number in range(8)]

    assert [trouble.sentence.partition(":")[0] for trouble in troubles(queues)] == ["q0.dlq and 7 more"]


@pytest.mark.parametrize(
    ("definition", "arguments", "disorder"),
    [
        ({"message-ttl": 1}, {}, "message-ttl of policy 'all'"),
        ({"max-length": 3}, {}, "max-length of policy 'all'"),
        ({"max-length": 3, "overflow": "reject-publish"}, {}, ""),
        ({}, {"x-max-priority": 9}, "argument x-max-priority"),
        ({"delivery-limit": 3}, {}, ""),
    ],
)
def test_what_breaks_the_order_of_a_queue_is_known(
    definition: Mapping[str, Any], arguments: Mapping[str, Any], disorder: str
) -> None:
    assert QueueLimits(LETTERS, arguments, definition, "policy 'all'").disorder == disorder
