"""Taking over what exists on the broker, from the text of its refusal. The texts are RabbitMQ's own."""

from typing import Any

import pytest

from common.errors import StartRefused
from common.rabbitmq.declaration import Declaration

PRECONDITION = "PRECONDITION_FAILED - "


def complaint(name: str, rest: str, what: str = "queue 'q'") -> str:
    return f"{PRECONDITION}inequivalent arg '{name}' for {what} in vhost '/': {rest}"


def queue(**arguments: Any) -> Declaration:
    return Declaration("queue", "q", arguments={name.replace("_", "-"): value for name, value in arguments.items()})


@pytest.mark.parametrize(
    ("name", "rest", "before", "after"),
    [
        ("x-dead-letter-exchange", "received the value 'a' of type 'longstr' but current is none", "a", None),
        ("x-dead-letter-exchange", "received 'a' but current is 'other'it'", "a", "other'it"),
        ("x-dead-letter-exchange", "received none but current is the value 'b' of type 'longstr'", None, "b"),
        ("x-queue-type", "received 'quorum' but current is 'classic'", "quorum", "classic"),
        ("x-delivery-limit", "received '-1' but current is '5'", -1, 5),
        ("x-delivery-limit", "received none but current is the value '20' of type 'signedint'", None, 20),
        ("x-single-active-consumer", "received none but current is the value 'true' of type 'bool'", None, True),
        ("x-odd", "received none but current is the value '1.5' of type 'double'", None, 1.5),
    ],
)
def test_the_value_that_exists_is_taken_over(name: str, rest: str, before: Any, after: Any) -> None:
    declaration = Declaration("queue", "q", arguments={} if before is None else {name: before})

    assert declaration.adopt(complaint(name, rest))

    assert declaration.arguments == ({} if after is None else {name: after})
    assert len(declaration.differences) == 1
    assert name in declaration.differences[0]


def test_an_argument_that_this_type_of_queue_does_not_know_is_left_out() -> None:
    declaration = queue(x_delivery_limit=-1)

    assert declaration.adopt(
        f"{PRECONDITION}invalid arg 'x-delivery-limit' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"
    )

    assert declaration.arguments == {}


def test_an_exchange_of_another_type_is_taken_over() -> None:
    declaration = Declaration("exchange", "e", {"type": "fanout", "durable": True})

    assert declaration.adopt(complaint("type", "received 'fanout' but current is 'direct'", "exchange 'e'"))
    assert declaration.adopt(complaint("durable", "received 'true' but current is 'false'", "exchange 'e'"))

    assert declaration.fields == {"type": "direct", "durable": False}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (complaint("durable", "received 'true' but current is 'false'"), "not durable"),
        (complaint("auto_delete", "received 'false' but current is 'true'"), "last consumer"),
        (complaint("x-queue-type", "received 'quorum' but current is 'stream'"), "a stream"),
    ],
)
def test_what_would_lose_records_is_refused_by_name(text: str, why: str) -> None:
    declaration = queue(x_queue_type="quorum")

    with pytest.raises(StartRefused, match=rf"'q'.*{why}"):
        declaration.adopt(text)


def test_an_internal_exchange_is_refused() -> None:
    declaration = Declaration("exchange", "e", {"type": "fanout", "internal": False})

    with pytest.raises(StartRefused, match=r"'e'.*internal"):
        declaration.adopt(complaint("internal", "received 'false' but current is 'true'", "exchange 'e'"))


def test_a_text_that_was_cut_off_leads_to_an_end() -> None:
    declaration = queue(x_dead_letter_exchange="a")
    cut = complaint("x-dead-letter-exchange", "received none but current is the value 'very-lo...")

    first, second = declaration.adopt(cut), declaration.adopt(cut)

    assert (first, second) == (True, False)


def test_a_text_about_something_else_changes_nothing() -> None:
    declaration = queue(x_queue_type="quorum")

    assert not declaration.adopt(f"{PRECONDITION}something new")

    assert declaration.arguments == {"x-queue-type": "quorum"}
