"""Headers that are recognised say the same as headers that are decoded."""

import struct
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.delivery import Properties
from common.rabbitmq.consuming.fast import header_cache
from common.rabbitmq.consuming.fast.header_cache import Shapes, shape_of
from common.rabbitmq.consuming.fast.headers import Facts, facts_of, read_properties
from common.rabbitmq.frames import content_frames, table
from tests.unit.rabbitmq.test_frames import properties

TRAP = "\x0ftimestamp_in_msl"
loads = st.sampled_from(["20260301", "20260401", "latest", 20260301])
stamps = st.integers(-(2**63), 2**63 - 1)
texts = st.sampled_from(["", "x", TRAP, f"{TRAP}12345678", f"a{TRAP}"])
headers = st.one_of(
    st.fixed_dictionaries({"load": loads, "timestamp_in_ms": stamps}),
    st.fixed_dictionaries({"timestamp_in_ms": stamps, "load": loads, "x-delivery-count": st.integers(0, 3)}),
    st.fixed_dictionaries({"x-delivery-count": st.integers(0, 3), "load": loads, "timestamp_in_ms": stamps}),
    st.fixed_dictionaries({"x-delivery-count": st.integers(0, 3)}),
    st.fixed_dictionaries({"a": texts, "timestamp_in_ms": st.one_of(stamps, texts, st.booleans()), "z": texts}),
    st.fixed_dictionaries({"a": texts, "inner": st.fixed_dictionaries({"timestamp_in_ms": stamps})}),
    st.fixed_dictionaries({"trace": st.text(max_size=3), "load": loads, "number": stamps, "timestamp_in_ms": stamps}),
    st.fixed_dictionaries({"timestamp_in_ms": stamps, "inner": st.dictionaries(texts, st.booleans()), "id": texts}),
    st.just({}),
)
ours = st.builds(Properties, headers=headers, content_type=st.just("application/json"), message_id=st.text(max_size=5))


def payload_of(written: Properties) -> bytes:
    """The payload of a message's content header."""
    return content_frames(1, written, b"", frame_max=131_072)[7:-1]


def decoded(written: Properties) -> Facts:
    """What its headers say, from the mapping itself."""
    values = written.headers
    load, stamp, count = values.get("load"), values.get("timestamp_in_ms"), values.get("x-delivery-count", 0)
    return Facts(
        load if load in ("20260301", "20260401") else None,
        stamp if isinstance(stamp, int) and not isinstance(stamp, bool) else None,
        count,
    )


@given(st.lists(ours, max_size=12))
def test_what_is_recognised_is_what_was_written(written: list[Properties]) -> None:
    shapes = Shapes()

    for each in written:
        assert shapes.read(payload_of(each)) == decoded(each)


@given(st.lists(st.tuples(st.one_of(ours, properties), st.integers(0, 400), st.binary(max_size=2)), max_size=8))
def test_what_is_recognised_is_what_would_be_decoded_also_of_broken_headers(
    written: list[tuple[Properties, int, bytes]],
) -> None:
    shapes = Shapes()

    for each, at, noise in written:
        whole = bytearray(payload_of(each))
        at = max(14, at)
        whole[at : at + len(noise)] = noise
        payload = bytes(whole)
        assert shapes.read(payload) == facts_of(payload)
        read_properties(payload)


@given(ours, stamps)
def test_a_shape_reads_another_time_from_the_same_bytes(written: Properties, stamp: int) -> None:
    payload = payload_of(written)
    shape = shape_of(payload)

    if shape is not None and shape.stamp_at:
        at = shape.stamp_at
        later = payload[:at] + struct.pack(">q", stamp) + payload[at + 8 :]
        assert shape.read(later) == facts_of(later)


def test_the_headers_of_a_load_are_learned_from_its_first_message() -> None:
    shapes = Shapes()
    for at in range(3):
        written = Properties(headers={"load": "20260301", "timestamp_in_ms": at}, message_id=f"releases:{at}")
        shapes.read(payload_of(written))

    assert shapes.latest.stamp_at
    assert shapes.latest.facts.load == "20260301"


def foreign(number: int, **more: object) -> Properties:
    """What a producer of others sends: headers that differ from message to message."""
    trace = {"traceparent": f"00-{number:032x}-{number:016x}-01", "event-id": str(UUID(int=number)), "sequence": number}
    return Properties(headers={**trace, **more, "load": "20260301", "timestamp_in_ms": number, "baggage": "x"})


def test_headers_that_differ_in_what_says_nothing_to_us_are_learned_from_the_first_message() -> None:
    shapes = Shapes()
    shapes.read(payload_of(foreign(0)))
    learned = shapes.latest

    for number in range(1, 300):
        assert learned.read(payload_of(foreign(number))) == Facts("20260301", number, 0)


@pytest.mark.parametrize("name", ["load", "x-delivery-count", "timestamp_in_ms"])
def test_what_says_something_to_us_is_never_a_gap(name: str) -> None:
    written = {"id": "a", "x-delivery-count": 1, "timestamp_in_ms": True, "load": "20260301"}
    shape = shape_of(payload_of(Properties(headers=written)))
    other = {"load": "20260401", "x-delivery-count": 2, "timestamp_in_ms": False}[name]

    assert shape is not None
    assert shape.read(payload_of(Properties(headers=written | {"id": "b"}))) == Facts("20260301", None, 1)
    assert shape.read(payload_of(Properties(headers=written | {name: other}))) is None


def test_of_a_header_that_is_there_twice_the_last_one_counts() -> None:
    once = table({"timestamp_in_ms": 1})[4:]
    both = [once + table({"timestamp_in_ms": stamp})[4:] for stamp in (2, 3)]
    first, second = (struct.pack(">HHQHI", 60, 0, 1, 0x2000, len(entries)) + entries for entries in both)
    shape = shape_of(first)

    assert shape is not None
    assert shape.read(second) == facts_of(second) == Facts(None, 3, 0)


def test_headers_of_another_length_each_time_are_seldom_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning costs six times as much as decoding."""
    learned = 0

    def counted(payload: bytes) -> Any:
        nonlocal learned
        learned += 1
        return shape_of(payload)

    monkeypatch.setattr(header_cache, "shape_of", counted)
    shapes, rng = Shapes(), Random(1)
    for number in range(1600):
        written = foreign(number, note="x" * rng.randint(1, 40))
        assert shapes.read(payload_of(written)) == decoded(written)

    assert learned < 1600 / 10


def test_headers_that_always_differ_do_not_push_out_what_was_learned_for_ever() -> None:
    shapes = Shapes()
    for at in range(500):
        assert shapes.read(payload_of(Properties(headers={"trace": "x" * at}))) == Facts()
    stamped = payload_of(Properties(headers={"load": "20260301", "timestamp_in_ms": 5}))

    assert {shapes.read(stamped) for _ in range(20)} == {Facts("20260301", 5, 0)}
    assert shapes.latest.stamp_at


def test_what_is_recognised_meanwhile_does_not_keep_a_stranger_from_being_learned() -> None:
    shapes = Shapes()
    known = payload_of(Properties(headers={"load": "20260301", "timestamp_in_ms": 5}))
    for at in range(20):
        shapes.read(payload_of(Properties(headers={"trace": "x" * at})))  # until only one in so many is learned
    shapes.read(known)
    shapes._known.appendleft(shape_of(known))  # type: ignore[arg-type]
    stranger = payload_of(Properties(headers={"load": "20260401", "timestamp_in_ms": 6}))

    for _ in range(40):
        shapes.read(known)
        shapes.read(stranger)

    assert any(shape.read(stranger) for shape in shapes._known)
