"""The fast reader's parser: any bytes, cut anywhere, against the client library's own decoder and against itself."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel, Connection
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from common.delivery import Delivery, Epoch, Properties
from common.rabbitmq import lenient_pamqp
from common.rabbitmq.consuming.fast.fast_path import Lookalikes
from common.rabbitmq.consuming.fast.header_cache import Shapes
from common.rabbitmq.consuming.fast.headers import facts_of
from common.rabbitmq.consuming.fast.parser import FrameError, Parser
from common.rabbitmq.frames import content_frames
from common.rabbitmq.properties import translated
from tests.unit.rabbitmq.test_frames import properties

CHANNEL, FRAME_MAX = 1, 4096
lenient_pamqp.install()  # as connecting does

foreign = st.builds(
    Properties,
    headers=st.fixed_dictionaries(
        {"trace": st.text("0f", min_size=9, max_size=9), "n": st.integers(0, 2**40), "load": st.just("20260301")}
    ),
    message_id=st.text(max_size=9),
)
alike = st.builds(
    Properties,
    content_type=st.just("application/json"),
    headers=st.fixed_dictionaries({"load": st.just("20260301"), "timestamp_in_ms": st.integers(0, 2**62)}),
    message_id=st.text(max_size=9),
)
messages = st.tuples(st.one_of(alike, foreign, properties), st.one_of(st.binary(max_size=40), st.binary(max_size=9000)))
others: st.SearchStrategy[tuple[int, Any]] = st.sampled_from(
    [(0, Heartbeat()), (0, Connection.Blocked("low on memory")), (CHANNEL, Channel.Flow(active=True))]
)
exchanges = st.sampled_from(["discogsography-discogs-releases", "releases", ""])


def delivered(tag: int, message: tuple[Properties, bytes], exchange: str = "releases", *, again: bool = False) -> bytes:
    """What a broker sends for a message. `again`: it says that it has given it out before."""
    method = Basic.Deliver("ctag1.0", tag, again, exchange, "")
    return pamqp.frame.marshal(method, CHANNEL) + content_frames(CHANNEL, *message, frame_max=FRAME_MAX)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """What a broker might send on a connection with one consumer."""
    parts = []
    for tag, message in enumerate(draw(st.lists(messages, max_size=8)), start=1):
        parts.append(delivered(tag, message, draw(exchanges), again=draw(st.booleans())))
        if draw(st.booleans()):
            channel, frame = draw(others)
            parts.append(pamqp.frame.marshal(frame, channel))
    return b"".join(parts)


@st.composite
def mutated_streams(draw: st.DrawFn) -> bytes:
    """The same with some bytes changed, lost or put in."""
    stream = bytearray(draw(streams()))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(stream)))
        stream[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(stream)


def cut(stream: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    """The stream in pieces."""
    at = 0
    for place in sorted({place % (len(stream) + 1) for place in cuts} | {len(stream)}):
        if place > at:
            yield stream[at:place]
        at = place


cuttings = st.one_of(st.lists(st.integers(0, 2**16), max_size=12), st.just(range(2**16)))


class Outcome:
    """What a stream has come to."""

    def __init__(self, pieces: Iterator[bytes] | list[bytes]) -> None:
        self.deliveries: list[Delivery] = []
        self.rest = b""
        self.is_broken = False
        parser = Parser()
        parser.begin(Epoch(1), frame_max=FRAME_MAX)
        try:
            for piece in pieces:
                deliveries, rest = parser.feed(piece, 1.0)
                self.deliveries += deliveries
                self.rest += rest
        except FrameError:
            self.is_broken = True

    @property
    def seen(self) -> list[tuple[Any, ...]]:
        return [
            (each.tag, each.body, each.load, each.published_ms, each.delivery_count, repr(each.read_properties()))
            for each in self.deliveries
        ]


def facts_from(headers: Mapping[str, Any]) -> tuple[str | None, int | None, int]:
    """Load, time and count of deliveries as a mapping of headers has them."""
    load, stamp, count = (headers.get(name) for name in ("load", "timestamp_in_ms", "x-delivery-count"))
    return (
        load if isinstance(load, str) and re.fullmatch("[0-9]{8}", load) else None,
        stamp if type(stamp) is int else None,
        count if type(count) is int else 0,
    )


def expected(stream: bytes) -> tuple[list[tuple[Any, ...]], bytes]:
    """Deliveries and all other frames, as the client library decodes them."""
    seen: list[tuple[Any, ...]] = []
    rest = b""
    method: Any = None
    header, body = ContentHeader(), b""
    while stream:
        used, _, frame = pamqp.frame.unmarshal(stream)
        if isinstance(frame, Basic.Deliver):
            method, header, body = frame, ContentHeader(), b""
        elif isinstance(frame, ContentHeader):
            header = frame
        elif isinstance(frame, ContentBody):
            body += frame.value
        else:
            assert isinstance(frame, Frame | Heartbeat)
            rest += stream[:used]
        if method is not None and header.class_id and len(body) == header.body_size:
            load, stamp, count = facts_from(header.properties.headers or {})
            facts = (load, stamp, count if method.redelivered else 0)
            seen.append((method.delivery_tag, body, *facts, repr(translated(header.properties))))
            method = None
        stream = stream[used:]
    return seen, rest


@given(streams(), cuttings)
def test_a_stream_cut_anywhere_gives_what_the_client_library_decodes(stream: bytes, cuts: Sequence[int]) -> None:
    outcome = Outcome(cut(stream, cuts))

    assert not outcome.is_broken
    assert (outcome.seen, outcome.rest) == expected(stream)


@given(mutated_streams(), cuttings)
def test_a_broken_stream_ends_the_same_way_wherever_it_is_cut(stream: bytes, cuts: Sequence[int]) -> None:
    outcome, whole, bytewise = Outcome(cut(stream, cuts)), Outcome([stream]), Outcome(cut(stream, range(len(stream))))

    assert outcome.is_broken == whole.is_broken == bytewise.is_broken
    assert outcome.seen == bytewise.seen[: len(outcome.seen)]
    if not whole.is_broken:
        assert outcome.seen == whole.seen == bytewise.seen
        assert outcome.rest == whole.rest == bytewise.rest


@given(mutated_streams(), cuttings)
def test_reading_lookalikes_at_once_changes_nothing(stream: bytes, cuts: Sequence[int]) -> None:
    pieces = list(cut(stream, cuts))

    assert_read_alike(pieces)


STAMPED = [{"load": "20260301", "timestamp_in_ms": at} for at in (1, 2, 3)]
FOREIGN = [{"trace": f"{at:04x}", "at": at, "inner": {"load": at}, **STAMPED[at - 1]} for at in (1, 2, 3)]
RETURNED = [{**each, "x-delivery-count": 1} for each in STAMPED]


@pytest.mark.parametrize("headers", [STAMPED, RETURNED, FOREIGN, [{}] * 3, [STAMPED[0], RETURNED[0], STAMPED[1]]])
def test_no_byte_is_overlooked_in_messages_that_look_alike(headers: list[dict[str, Any]]) -> None:
    written = [Properties(headers=each, content_type="a/b") for each in headers]
    stream = b"".join(delivered(tag, (each, b"xyz"), again=tag % 2 == 0) for tag, each in enumerate(written, start=1))
    for at in range(len(stream)):
        for change in (0x01, 0x02, 0x10, 0x80, 0xFF):
            changed = bytearray(stream)
            changed[at] ^= change
            assert_read_alike([bytes(changed)])


@pytest.mark.parametrize("grown", [-20, -8, -1, 1, 8])
def test_a_header_of_another_size_is_not_taken_for_one_that_looks_alike(grown: int) -> None:
    parts = [delivered(tag, (Properties(headers=each), b"xyz")) for tag, each in enumerate(STAMPED, start=1)]
    at = parts[1].index(b"\xce\x02\x00\x01") + 4  # the size of the header's frame
    size = int.from_bytes(parts[1][at : at + 4], "big")
    payload = parts[1][at + 4 : at + 4 + size]
    payload = payload[:grown] if grown < 0 else payload + b"y" * grown
    parts[1] = parts[1][:at] + len(payload).to_bytes(4, "big") + payload + parts[1][at + 4 + size :]

    assert_read_alike([b"".join(parts)])


def test_a_body_larger_than_a_frame_may_be_is_refused_also_among_others() -> None:
    small = delivered(1, (Properties(), b"x"))
    large = pamqp.frame.marshal(Basic.Deliver("ctag1.0", 2, False, "releases", ""), CHANNEL)
    large += content_frames(CHANNEL, Properties(), b"x" * FRAME_MAX, frame_max=2 * FRAME_MAX)

    assert Outcome([small + large]).is_broken


def assert_read_alike(pieces: list[bytes]) -> None:
    """Assert that it makes no difference whether messages that look alike are read at once or frame by frame."""
    swift = Outcome(pieces)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Lookalikes, "read", lambda _self, _data, at, *_: at)
        patched.setattr(Shapes, "read", lambda _self, payload: facts_of(payload))

        slow = Outcome(pieces)

    assert (swift.seen, swift.rest, swift.is_broken) == (slow.seen, slow.rest, slow.is_broken)


@given(st.binary(max_size=200), cuttings)
def test_noise_is_refused_or_waited_on(noise: bytes, cuts: Sequence[int]) -> None:
    assert Outcome(cut(noise, cuts)).deliveries == []


@pytest.mark.parametrize(
    "stream",
    [
        delivered(2, (Properties(), b"x")),  # a hole
        delivered(1, (Properties(), b"x")) * 2,
        delivered(1, (Properties(), b"xyz"))[:-9] + delivered(2, (Properties(), b"x")),  # no body
        content_frames(CHANNEL, Properties(), b"x", frame_max=FRAME_MAX),
        delivered(1, (Properties(), b"x"))[:-1] + b"\x00",
        b"AMQP\x00\x00\x09\x01",
        b"\x03\x00\x01\x7f\xff\xff\xff\x00",  # two gigabytes in one frame
    ],
)
def test_what_breaks_the_protocol_is_refused(stream: bytes) -> None:
    assert Outcome([stream]).is_broken


def test_a_delivery_before_anybody_consumes_is_refused() -> None:
    with pytest.raises(FrameError, match="out of turn"):
        Parser().feed(delivered(1, (Properties(), b"x")), 1.0)


@pytest.mark.parametrize("more", [lambda _: {}, lambda at: {"trace": f"{at:055x}", "id": str(UUID(int=at)), "n": at}])
def test_messages_that_look_alike_are_read_at_once(
    more: Callable[[int], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stamped = [Properties(headers={**more(at), "load": "20260301", "timestamp_in_ms": at}) for at in range(100)]
    stream = b"".join(delivered(tag, (each, b"x")) for tag, each in enumerate(stamped, start=1))
    singly = 0
    finish = Parser._finish

    def counted(*arguments: Any) -> Delivery:
        nonlocal singly
        singly += 1
        return finish(*arguments)

    monkeypatch.setattr(Parser, "_finish", counted)

    outcome = Outcome([stream])

    assert [each.published_ms for each in outcome.deliveries] == list(range(100))
    assert singly == 1


def test_a_delivery_count_counts_only_for_what_is_delivered_again() -> None:
    """A message that was moved from another queue bears that queue's count."""
    former = (Properties(headers={"x-delivery-count": 19}), b"x")

    outcome = Outcome([b"".join(delivered(tag, former, again=tag > 3) for tag in range(1, 7))])

    assert [each.delivery_count for each in outcome.deliveries] == [0, 0, 0, 19, 19, 19]
