"""Tables of headers are read as pamqp reads them, and where pamqp gives up, as far as they can be."""

import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pamqp import decode
from pamqp.header import ContentHeader

from common.rabbitmq import lenient_pamqp
from common.rabbitmq.field_tables import DEPTH, REST, VALUES, Raw, read_table
from common.rabbitmq.frames import table
from tests.unit.rabbitmq.test_frames import keys, values


def read(written: bytes) -> dict[str, Any]:
    return read_table(written, 4, len(written))


@given(st.dictionaries(keys, values, max_size=5))
def test_what_pamqp_can_read_is_read_as_pamqp_reads_it(headers: dict[str, Any]) -> None:
    written = table(headers)

    assert read(written) == decode.field_table(written)[1] == headers


@given(st.sampled_from("tbBsuIilLfdDTV\0"), st.binary(min_size=8, max_size=8))
def test_values_of_every_type_are_read_as_pamqp_reads_them(kind: str, content: bytes) -> None:
    size = {"t": 1, "b": 1, "B": 1, "s": 2, "u": 2, "I": 4, "i": 4, "f": 4, "D": 5, "V": 0, "\0": 0}.get(kind, 8)
    content = content[:size]
    if kind == "T":
        content = bytes(4) + content[4:]  # later ones are milliseconds for pamqp
    elif kind == "D":
        content = content[:1] + b"\0" + content[2:]  # the brokers' are not negative, pamqp's may be
    written = one(b"key", kind.encode() + content)

    assert repr(read(written)) == repr(decode.field_table(written)[1])


@given(st.binary(max_size=200))
def test_any_bytes_are_read(noise: bytes) -> None:
    read_table(noise, 0, len(noise))
    read_table(noise, 0, 1000)


@given(st.dictionaries(keys, values, max_size=5), st.dictionaries(keys, values, max_size=5))
def test_what_stands_before_something_unreadable_is_read(before: dict[str, Any], behind: dict[str, Any]) -> None:
    written = table(before)[4:] + one(b"odd", b"Z\0")[4:] + table(behind)[4:]

    read = read_table(written, 0, len(written))

    assert read.pop(REST) == written[len(table(before)) - 4 :]
    assert read == before


def test_a_key_that_is_no_utf8_is_read_with_a_mark() -> None:
    assert read(one(b"\xff", b"t\1")) == {"\ufffd": True}


def test_levels_below_the_deepest_stay_as_they_came() -> None:
    written = table({})
    for _ in range(10 * DEPTH):
        written = one(b"k", b"F" + written)

    value: Any = read(written)
    for _ in range(DEPTH):
        value = value["k"]

    assert isinstance(value, Raw)
    assert table(read(written)) == written


def test_no_more_values_are_read_than_anybody_needs() -> None:
    written = table({str(number): None for number in range(VALUES + 5)})

    assert len(read(written)) == VALUES + 1
    assert table(read(written)) == written


@given(st.dictionaries(keys, values, max_size=5))
def test_a_list_or_time_that_can_not_be_read_stays_as_it_came(before: dict[str, Any]) -> None:
    """Fault 82: a copy of a message lacked it."""
    for value in (b"A\0\0\0\x03t\1Z", b"T" + b"\xff" * 8):
        entry = one(b"odd", value)[4:]
        content = table(before)[4:] + entry
        written = struct.pack(">I", len(content)) + content

        assert table(read(written)) == written


def test_properties_that_are_cut_off_are_read_up_to_there() -> None:
    lenient_pamqp.install()
    header = ContentHeader()

    header.unmarshal(struct.pack(">HHQH", 60, 0, 7, 0xA000) + b"\x04json" + b"\0\0\0\x09\x01a")

    assert (header.body_size, header.properties.content_type) == (7, "json")


def one(key: bytes, value: bytes) -> bytes:
    """A table of one entry."""
    content = bytes((len(key),)) + key + value
    return struct.pack(">I", len(content)) + content
