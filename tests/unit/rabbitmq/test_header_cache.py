"""Headers that are recognised say the same as headers that are decoded."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from common.delivery import Properties
from common.rabbitmq.consuming.fast.header_cache import Shapes, shape_of
from common.rabbitmq.consuming.fast.headers import Facts, facts_of, read_properties
from common.rabbitmq.frames import content_frames
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

    if shape is not None and shape.is_stamped:
        at = 14 + len(shape.prefix)
        later = payload[:at] + struct.pack(">q", stamp) + payload[at + 8 :]
        assert shape.read(later) == facts_of(later)


def test_the_headers_of_a_load_are_learned_from_its_first_message() -> None:
    shapes = Shapes()
    for at in range(3):
        written = Properties(headers={"load": "20260301", "timestamp_in_ms": at}, message_id=f"releases:{at}")
        shapes.read(payload_of(written))

    assert shapes.latest.is_stamped
    assert shapes.latest.facts.load == "20260301"


def test_headers_that_always_differ_do_not_push_out_what_was_learned_for_ever() -> None:
    shapes = Shapes()
    for at in range(500):
        assert shapes.read(payload_of(Properties(headers={"trace": str(at)}))) == Facts()
    stamped = payload_of(Properties(headers={"load": "20260301", "timestamp_in_ms": 5}))

    assert {shapes.read(stamped) for _ in range(20)} == {Facts("20260301", 5, 0)}
    assert shapes.latest.is_stamped
