"""What a published message looks like on the wire, read back by the client library's own decoder."""

from datetime import UTC, datetime
from typing import Any

import pamqp.frame
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from common.delivery import Properties
from common.rabbitmq.frames import content_frames, header_size, publish_frame, short_text

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
short_texts = st.one_of(st.none(), texts.filter(lambda text: 0 < len(text.encode()) <= 255))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    texts,
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(microsecond=0, tzinfo=UTC)),
    st.binary(max_size=20).map(bytearray),
)
keys = texts.filter(lambda text: len(text.encode()) <= 255)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
properties = st.builds(
    Properties,
    content_type=short_texts,
    content_encoding=short_texts,
    headers=st.dictionaries(keys, values, max_size=5),
    delivery_mode=st.sampled_from([None, 1, 2]),
    priority=st.one_of(st.none(), st.integers(0, 255)),
    correlation_id=short_texts,
    reply_to=short_texts,
    expiration=short_texts,
    message_id=short_texts,
    timestamp=st.one_of(st.none(), st.integers(0, 4_000_000_000)),
    type=short_texts,
    user_id=short_texts,
    app_id=short_texts,
)


def read(data: bytes) -> list[Any]:
    """The frames of a channel, as the client library reads them."""
    frames = []
    while data:
        used, channel, frame = pamqp.frame.unmarshal(data)
        assert channel == 3
        frames.append(frame)
        data = data[used:]
    return frames


@given(properties, st.binary(max_size=200), st.integers(20, 100))
def test_what_is_written_is_read_as_the_same(written: Properties, body: bytes, frame_max: int) -> None:
    header, *parts = read(content_frames(3, written, body, frame_max=frame_max))

    assert isinstance(header, ContentHeader)
    assert header.body_size == len(body)
    assert b"".join(part.value for part in parts) == body
    assert all(isinstance(part, ContentBody) and 0 < len(part.value) <= frame_max - 8 for part in parts)
    found = header.properties
    assert (found.headers or {}) == written.headers
    assert (int(found.timestamp.timestamp()) if found.timestamp else None) == written.timestamp
    for name in ("content_type", "content_encoding", "delivery_mode", "priority", "correlation_id", "reply_to"):
        assert getattr(found, name) == getattr(written, name)
    for name in ("expiration", "message_id", "user_id", "app_id"):
        assert getattr(found, name) == getattr(written, name)
    assert found.message_type == written.type


@given(properties)
def test_the_size_of_a_header_is_the_size_of_its_frame(written: Properties) -> None:
    assert header_size(written) == len(content_frames(3, written, b"", frame_max=131072))


def test_a_publish_frame_is_mandatory_and_names_its_exchange() -> None:
    (frame,) = read(publish_frame(3, "prefix-artists"))

    assert isinstance(frame, Basic.Publish)
    assert (frame.exchange, frame.routing_key, frame.mandatory, frame.immediate) == ("prefix-artists", "", True, False)


@given(st.text(max_size=400))
def test_a_short_text_is_cut_at_255_bytes_and_stays_utf8(text: str) -> None:
    encoded = short_text(text)

    assert encoded[0] == len(encoded) - 1 <= 255
    assert text.encode("utf-8", "replace").decode().startswith(encoded[1:].decode())


@given(st.dictionaries(keys, st.one_of(st.integers(), st.decimals(), st.just(object()), st.text(), st.binary())))
def test_no_header_is_too_odd_to_be_written(headers: dict[str, Any]) -> None:
    (frame,) = read(content_frames(3, Properties(headers=headers), b"", frame_max=131072))

    assert set(frame.properties.headers or {}) == set(headers)
