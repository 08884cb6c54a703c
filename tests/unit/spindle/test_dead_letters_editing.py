"""Edited and imported letters: what a change makes of a record, and what is refused with a sentence."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from common.delivery import Properties
from common.errors import StartRefused
from common.kinds import Names, Service
from common.rabbitmq.ops.fates import Keep, Send
from common.rabbitmq.ops.queue_reader import StoredLetter
from spindle.dead_letters.editing import Change, Edits, NotEditable, change_of, edited, edited_by_hand, removal_of
from spindle.dead_letters.exporting import exporting_to
from spindle.dead_letters.importing import letters_of, missing, sign_of
from spindle.dead_letters.letter import Letter, read

RECORD = {"id": "1", "sha256": "a" * 64, "name": "A", "artists": [{"id": "5"}, {"id": "6"}]}


def letter(body: bytes = b'{"id":"1"}', number: str = "0f", **headers: Any) -> Letter:
    said = {"x-spindle-reason": "refused", "x-spindle-letter": number, "x-spindle-id": "1", **headers}
    return read(
        StoredLetter(body, Properties(headers=said, message_id="m", timestamp=7)), Service.TABLEINATOR, "labels"
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (change_of("name=B"), {"name": "B"}),
        (change_of('name="5"'), {"name": "5"}),
        (change_of("name=5"), {"name": "5"}),
        (change_of("name=true"), {"name": "true"}),
        (change_of("name=NaN"), {"name": "NaN"}),
        (change_of("name=a=b"), {"name": "a=b"}),
        (change_of("year=null"), {"year": None}),
        (change_of("artists[1].id=7"), {"artists": [{"id": "5"}, {"id": "7"}]}),
        (change_of("artists=[]"), {"artists": []}),
        (removal_of("artists[0]"), {"artists": [{"id": "6"}]}),
        (removal_of("artists[0].id"), {"artists": [{}, {"id": "6"}]}),
    ],
)
def test_a_change_is_made_at_its_path_and_the_hash_is_the_edited_records_own(change: Any, expected: Any) -> None:
    found = json.loads(edited(json.dumps(RECORD).encode(), [change]))

    assert found.pop("sha256") != RECORD["sha256"]
    assert found == {key: value for key, value in RECORD.items() if key != "sha256"} | expected


def test_a_record_without_a_hash_gets_none() -> None:
    assert edited(b'{"id":"1"}', [change_of("name=B")]) == b'{"id":"1","name":"B"}'


@pytest.mark.parametrize(
    ("body", "change", "why"),
    [
        (b"{", change_of("a=1"), "its body is not JSON"),
        (b"[1]", change_of("a=1"), "no JSON object"),
        (b'{"a":1}', change_of("a.b=1"), "there is no a.b in it"),
        (b'{"a":[]}', change_of("a[0]=1"), r"there is no a\[0\] in it"),
        (b'{"a":1}', removal_of("b"), "there is no b in it"),
    ],
)
def test_a_change_that_can_not_be_made_says_why(body: bytes, change: Any, why: str) -> None:
    with pytest.raises(NotEditable, match=why):
        edited(body, [change])


@pytest.mark.parametrize("text", ["", "=1", "name", "a..b=1", ".a=1", "a[x]=1", "a]=1"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="PATH=VALUE"):
        change_of(text)


@pytest.mark.parametrize("text", ["a=[NaN]", 'a={"b"', "a=" + "[" * 100_000])
def test_what_begins_as_json_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not JSON"):
        change_of(text)


@pytest.mark.parametrize(
    "rest", ['"n":1.10', '"n":12345678901234567890123.5', '"n":1e999', '"n":-0', '"t":"\\ud800"', '"t":"ä\\u0000"']
)
def test_what_no_change_names_stays_as_it_was_written(rest: str) -> None:
    before = f'{{"id":"1",{rest}}}'

    assert edited(before.encode(), [change_of("name=B")]).decode() == before[:-1] + ',"name":"B"}'


def test_two_letters_without_a_number_are_two_edits() -> None:
    names = Names(prefix="p")
    tables, graph = (
        read(StoredLetter(b'{"id":"1"}', Properties()), service, "labels")
        for service in (Service.TABLEINATOR, Service.GRAPHINATOR)
    )
    edits = Edits(names)

    edits.make([tables, graph, graph], lambda each: edited(each.stored.body, [Change("of", each.service.value)]))
    fates = [edits.judge(each) for each in (graph, tables, graph, graph)]

    sends = [fate for fate in fates if isinstance(fate, Send)]
    assert [json.loads(send.body or b"")["of"] for send in sends] == ["graphinator", "tableinator", "graphinator"]
    assert isinstance(fates[3], Keep)
    assert [send.queue for send in sends] == [names.queue(each.service, "labels") for each in (graph, tables, graph)]


@pytest.mark.parametrize(
    ("script", "body", "expected"),
    [
        ("sed -i s/A/B/", b'{"id":"1","name":"A","n":1.10}', b'{"id":"1","name":"B","n":1.10}'),
        ("true", b'{"id":"1","name":"A"}', b'{"id":"1","name":"A"}'),
        ("true", b"{no record", b"{no record"),
        ("sed -i s/$/}/", b'{"id":"1"', b'{"id":"1"}'),
    ],
)
def test_an_editor_is_given_a_readable_record(script: str, body: bytes, expected: bytes) -> None:
    assert edited_by_hand(letter(body), {"EDITOR": script}) == expected


@pytest.mark.parametrize(
    ("script", "error", "why"),
    [
        ("false", NotEditable, "the editor ended with 1"),
        ("sed -i s/}//", NotEditable, "what was saved is not JSON"),
        ("/nowhere/editor", StartRefused, "can't be started"),
        ("", StartRefused, "neither VISUAL nor EDITOR"),
    ],
)
def test_an_editor_that_fails_edits_nothing(
    monkeypatch: pytest.MonkeyPatch, script: str, error: type[Exception], why: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())

    with pytest.raises(error, match=why):
        edited_by_hand(letter(), {"EDITOR": script})


def test_an_export_is_read_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "letters"
    odd = {"n": 2**40, "f": 0.1, "t": True, "none": None, "list": ["a", {"b": 1}], "text": "ä"}
    letters = [letter(), letter(b"\xff\x00", "10", **odd), letter(b"", "11")]
    with exporting_to(path) as export:
        for each in letters:
            export.add(each)

    assert letters_of(path) == letters


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda line: line[:-9], "line 2: it is not JSON, or was cut"),
        (lambda _: "[]", "line 2: it is no letter"),
        (
            lambda line: line.replace("tableinator", "else"),
            "line 2: service 'else' or kind 'labels' is unknown",
        ),
        (lambda line: line.replace('"header"', '"other"'), "line 2: header is missing: an older version"),
        (lambda line: line.replace('"header": "', '"header": "!'), "line 2: header is no base64"),
        (lambda line: line.replace('"body": "', '"body": "x'), "line 2: header does not belong to this body"),
        (lambda line: line.replace('"body"', '"other"'), "line 2: exactly one of body and body_base64"),
    ],
)
def test_a_line_that_is_none_of_an_export_is_named_and_nothing_is_imported(
    tmp_path: Path, change: Any, why: str
) -> None:
    path = tmp_path / "letters"
    with exporting_to(path) as export:
        export.add(letter())
        export.add(letter(number="10"))
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{change(second)}\n")

    with pytest.raises(StartRefused, match=why) as refused:
        letters_of(path)

    assert str(refused.value).endswith("Nothing was imported.")


def test_only_what_is_not_there_is_missing() -> None:
    a, b, c = letter(number="0a"), letter(number="0b"), letter(number="0c")
    unnumbered, other = letter(number="", load="20260301"), letter(number="", load="20260401")
    there = Counter(sign_of(each) for each in (a, c, other))

    assert missing([a, b, c, c, unnumbered, other], there) == [b, c, unnumbered]
