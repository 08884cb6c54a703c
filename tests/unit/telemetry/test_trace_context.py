"""The header `traceparent`, by the rule of W3C Trace Context: what is not to the letter is none."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.delivery import Delivery, Epoch, Properties
from common.telemetry.trace_context import TraceContext, contexts_of, sampled_context

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01"
CONTEXT = TraceContext(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)


@pytest.mark.parametrize(
    "header",
    [
        VALID,
        f"00-{TRACE}-{SPAN}-03",  # the second bit: its id was drawn by chance
        f"00-{TRACE}-{SPAN}-ff",
        f"01-{TRACE}-{SPAN}-01",  # a later version is read as far as this one goes
        f"cc-{TRACE}-{SPAN}-01-what-the-future-brings",
        f"01-{TRACE}-{SPAN}-01-",
        f"01-{TRACE}-{SPAN}-01-two\nlines",
        VALID.encode(),
        bytearray(VALID.encode()),
    ],
)
def test_a_sampled_context_is_read(header: object) -> None:
    assert sampled_context(header) == CONTEXT


@pytest.mark.parametrize(
    "header",
    [
        f"00-{TRACE}-{SPAN}-00",
        f"00-{TRACE}-{SPAN}-02",
        f"01-{TRACE}-{SPAN}-00-more",
    ],
)
def test_a_trace_that_its_sender_does_not_record_is_none(header: str) -> None:
    assert sampled_context(header) is None


@pytest.mark.parametrize(
    "header",
    [
        f"ff-{TRACE}-{SPAN}-01",  # the version that never is
        f"0-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"CC-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0B",
        f"{VALID}-",  # this version ends there
        f"{VALID}-more",
        f"{VALID}0",
        f"01-{TRACE}-{SPAN}-01more",
        f"01-{TRACE}-{SPAN}-01.more",
        f"{VALID}\n",
        f" {VALID}",
        VALID[:-1],
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",  # a digit of another script
        "",
        "-",
        b"\xff" * 55,
        None,
        7,
        [VALID],
    ],
)
def test_what_is_not_to_the_letter_is_none(header: object) -> None:
    assert sampled_context(header) is None


@given(st.text(max_size=80) | st.binary(max_size=80) | st.from_regex(r"[0-9a-f]{2}-[0-9a-fA-F]{32}-[0-9a-f]{16}-0[01]"))
def test_anything_is_a_context_with_both_ids_or_none(header: object) -> None:
    found = sampled_context(header)

    assert found is None or (0 < found.trace_id < 2**128 and 0 < found.span_id < 2**64)


def test_messages_that_were_sent_in_one_span_have_one_context() -> None:
    other = f"00-{TRACE}-{'1' * 16}-01"

    found = contexts_of(messages([VALID, None, other, VALID, f"00-{TRACE}-{SPAN}-00"]))

    assert found == [CONTEXT, CONTEXT._replace(span_id=0x1111111111111111)]


def messages(headers: Iterable[str | None]) -> list[Delivery]:
    """A delivery for each, with that header or without."""
    return [
        Delivery(
            tag,
            Epoch(1),
            b"{}",
            0.0,
            None,
            None,
            0,
            lambda header=header: Properties(headers={} if header is None else {"traceparent": header}),  # type: ignore[misc]  # mypy sees no type of a default
        )
        for tag, header in enumerate(headers, start=1)
    ]
