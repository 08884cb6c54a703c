"""What a dead letter carries."""

import re
from datetime import UTC, datetime
from typing import Any

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.dead_letters import DeadLetter
from common.delivery import Delivery, Epoch, Properties
from common.errors import Reason, Refusal
from common.rabbitmq.field_tables import DEPTH, VALUES, read_table
from common.rabbitmq.frames import content_frames, header_size, table
from common.rabbitmq.publishing.letter import properties_of, publishable

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def letter(
    properties: Properties = Properties(),  # noqa: B008 - frozen
    *,
    text: str = "no",
    record_id: str = "1",
    load: str | None = "20260301",
) -> DeadLetter:
    delivery = Delivery(1, Epoch(1), b"{}", 0.0, load, None, 0, lambda: properties)
    return DeadLetter(delivery, "artists", record_id, Reason.REFUSED, Refusal("DataError", "22021", text))


def make(original: DeadLetter, frame_max: int = 131072) -> Properties:
    return properties_of(original, service="graphinator", at=AT, frame_max=frame_max)


def test_the_headers_say_what_was_wrong_with_which_record() -> None:
    headers = dict(make(letter(text="invalid byte")).headers)

    assert re.fullmatch("[0-9a-f]{16}", headers.pop("x-spindle-letter"))
    assert headers == {
        "x-spindle-reason": "refused",
        "x-spindle-error-class": "DataError",
        "x-spindle-code": "22021",
        "x-spindle-text": "invalid byte",
        "x-spindle-service": "graphinator",
        "x-spindle-kind": "artists",
        "x-spindle-id": "1",
        "x-spindle-time": "2026-03-01T12:30:00.000+00:00",
        "x-spindle-load": "20260301",
        "x-spindle-replays": 0,
    }


def test_the_originals_properties_are_kept() -> None:
    original = Properties(
        content_type="application/json", headers={"load": "20260301", "own": [1]}, message_id="artists:1", timestamp=7
    )

    kept = make(letter(original))

    assert (kept.content_type, kept.message_id, kept.timestamp) == ("application/json", "artists:1", 7)
    assert kept.headers["own"] == [1]
    assert list(kept.headers)[-2:] == ["load", "own"]


def test_what_would_make_the_letter_vanish_or_be_refused_becomes_a_header() -> None:
    kept = make(letter(Properties(expiration="1000", user_id="somebody")))

    assert (kept.expiration, kept.user_id) == (None, None)
    assert kept.headers["x-spindle-expiration"] == "1000"
    assert kept.headers["x-spindle-user-id"] == "somebody"


def test_the_count_of_deliveries_is_not_carried_on() -> None:
    kept = make(letter(Properties(headers={"x-delivery-count": 11, "x-acquired-count": 3})))

    assert not {"x-delivery-count", "x-acquired-count"} & set(kept.headers)


def test_a_letter_that_was_replayed_keeps_its_count_and_says_the_new_reason() -> None:
    kept = make(letter(Properties(headers={"x-spindle-replays": 2, "x-spindle-reason": "not_json"})))

    assert (kept.headers["x-spindle-replays"], kept.headers["x-spindle-reason"]) == (2, "refused")


long_texts = st.text(min_size=1, max_size=10).map(lambda text: text * 2500)


@given(long_texts, long_texts, long_texts)
def test_our_headers_stay_below_16_kib(text: str, record_id: str, load: str) -> None:
    headers = make(letter(text=text, record_id=record_id, load=load)).headers

    assert len(table(headers)) <= 16 * 1024
    assert len(headers["x-spindle-text"]) == 2000


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=50).map(lambda t: t * 40), max_size=30))
def test_the_header_fits_a_frame_and_the_reason_is_among_what_is_left(headers: dict[str, Any]) -> None:
    kept = make(letter(Properties(headers=headers), text="x" * 5000), frame_max=16_384)

    assert header_size(kept) <= 16_384
    assert {"x-spindle-reason", "x-spindle-text", "x-spindle-id"} <= set(kept.headers)
    assert set(kept.headers) - set(headers) == {key for key in kept.headers if key.startswith("x-spindle-")} - set(
        headers
    )


def test_of_more_headers_than_are_read_none_is_lost_and_ours_are_read() -> None:
    """Fault 82."""
    written = table({f"{number}": None for number in range(VALUES + 100)} | {"deep": _deep(2 * DEPTH)})
    original = read_table(written, 4, len(written))

    once = table(make(letter(Properties(headers=original))).headers)
    read = read_table(once, 4, len(once))
    twice = table(publishable(Properties(headers=read)).headers)

    assert read["x-spindle-reason"] == "refused"
    assert twice == once
    assert once.endswith(written[4:])


def _deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"k": value}
    return value


def test_a_text_with_half_a_character_can_be_written() -> None:
    frames = content_frames(1, make(letter(text="half \ud83d of it")), b"", frame_max=131072)

    _, _, header = pamqp.frame.unmarshal(frames)
    assert (header.properties.headers or {})["x-spindle-text"] == "half ? of it"  # type: ignore[union-attr]


def test_thousands_of_small_headers_are_weighed_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 82: for each that had to go all were weighed again, 2.6 s of the event loop for one letter."""
    weighed = 0

    def weigh(values: dict[str, Any]) -> bytes:
        nonlocal weighed
        weighed += len(values)
        return table(values)

    monkeypatch.setattr("common.rabbitmq.publishing.letter.table", weigh)
    headers = {f"h{number:06d}": number for number in range(8150)}

    kept = make(letter(Properties(headers=headers)))

    assert weighed < 2 * len(headers)
    assert header_size(kept) <= 131_072
    assert 7000 < len(kept.headers) < 8150


@pytest.mark.parametrize("name", ["CC", "BCC"])
def test_headers_that_are_not_read_send_no_copy_to_another_queue(name: str) -> None:
    written = table({f"{number}": None for number in range(VALUES + 100)} | {name: ["somebody-elses"]})
    original = read_table(written, 4, len(written))

    copied = table(publishable(Properties(headers=original)).headers)

    assert b"somebody-elses" not in copied
