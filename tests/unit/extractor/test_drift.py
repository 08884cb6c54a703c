"""Whatever a record's XML holds, its record says all of it: no format's drift loses or overwrites anything."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from extractor.message import to_message
from extractor.normalising import _SHAPES
from extractor.reading import BrokenRecord, SkipReason, read_record

TAGS = [
    *sorted(_SHAPES.keys() - {"images"}),
    "name",
    "title",
    "type",
    "sha256",
    "artist",
    "id",
    "track",
    "new",
]
ATTRIBUTES = ["id", "name", "status", "type", "sha256", "uri"]


def record(inside: str, attributes: str = "id='1'") -> dict[str, Any]:
    return read_record(f"<release {attributes}>{inside}</release>".encode())


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("<notes>a</notes><notes>b</notes><notes>c</notes>", {"notes": ["a", "b", "c"]}),
        ("<notes/><notes>b</notes>", {"notes": [None, "b"]}),
        ("<genres><genre>A</genre></genres><genres><genre>B</genre></genres>", {"genres": ["A", "B"]}),
        ("<genres><genre>A</genre></genres><genres/>", {"genres": ["A"]}),
        ("<urls><url>A</url></urls><urls><url>B</url></urls>", {"urls": {"url": ["A", "B"]}}),
        (
            "<artists><artist><id>2</id></artist></artists><artists><artist><id>3</id></artist></artists>",
            {"artists": [{"id": "2"}, {"id": "3"}]},
        ),
        (
            "<tracklist><track><title>A</title></track></tracklist><tracklist><track><title>B</title></track></tracklist>",
            {"tracklist": {"track": [{"title": "A"}, {"title": "B"}]}},
        ),
        (
            "<parentLabel id='2'>A</parentLabel><parentLabel>B</parentLabel>",
            {"parentLabel": [{"id": "2", "name": "A"}, {"name": "B"}]},
        ),
        ("<master_id>2</master_id><master_id>3</master_id>", {"master_id": ["2", "3"]}),
        ("<id>1</id>", {}),
    ],
)
def test_what_comes_again_adds_to_what_was_there(inside: str, expected: dict[str, Any]) -> None:
    """Fault 75."""
    assert record(inside) == {"id": "1", **expected}


def test_inside_of_a_track_what_comes_again_adds_too() -> None:
    """Fault 75."""
    again = "<artists><artist><id>2</id></artist></artists><artists><artist><id>3</id></artist></artists>"

    (track,) = record(f"<tracklist><track>{again}</track></tracklist>")["tracklist"]["track"]

    assert track == {"artists": {"artist": [{"id": "2"}, {"id": "3"}]}}


@pytest.mark.parametrize("name", ["type", "sha256"])
def test_no_element_or_attribute_overwrites_the_envelope(name: str) -> None:
    """Fault 75."""
    found = record(f"<{name}>element</{name}>", f"id='1' {name}='attribute'")

    message = to_message("releases", found)

    assert found == {"id": "1", f"@{name}": "attribute", f"#{name}": "element"}
    assert json.loads(message.body) == {"type": "data", "id": "1", "sha256": message.sha256, **found}


def test_an_element_does_not_overwrite_the_attribute_of_its_name() -> None:
    """Fault 75."""
    assert record("<status>b</status><status>c</status>", "id='1' status='a'") == {
        "id": "1",
        "@status": "a",
        "status": ["b", "c"],
    }


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("<notes>a <b>c</b> d</notes>", {"notes": {"b": "c", "#text": ["a ", " d"]}}),
        ("a<notes>b</notes>", {"notes": "b", "#text": "a"}),
        ("<videos>a<video src='s'/></videos>", {"videos": {"video": [{"@src": "s"}], "#text": "a"}}),
        ("<videos a='b'><video src='s'/></videos>", {"videos": {"@a": "b", "video": [{"@src": "s"}]}}),
        (
            "<genres>a<genre>b</genre></genres>",
            {"genres": ["b"], "#genres": {"genre": "b", "#text": "a"}},
        ),
        (
            "<genres><genre id='2'>b</genre></genres>",
            {"genres": ["b"], "#genres": {"genre": {"@id": "2", "#text": "b"}}},
        ),
        (
            "<artists><artist>A</artist><artist><id>2</id></artist></artists>",
            {"artists": [{"id": "2"}], "#artists": {"artist": ["A", {"id": "2"}]}},
        ),
        ("<master_id since='2'>3</master_id>", {"master_id": "3", "#master_id": {"@since": "2", "#text": "3"}}),
        ("\n  <notes>a</notes>\n  <genres>\n <genre>b</genre>\n </genres>\n", {"notes": "a", "genres": ["b"]}),
    ],
)
def test_what_a_known_shape_cannot_say_stands_beside_it(inside: str, expected: dict[str, Any]) -> None:
    """Fault 75."""
    assert record(inside) == {"id": "1", **expected}


@pytest.mark.parametrize("inside", ["<id>2</id>", "<id>1</id><id>2</id>"])
def test_a_record_of_several_ids_is_skipped_and_says_so(inside: str) -> None:
    """Fault 75."""
    with pytest.raises(BrokenRecord) as error:
        record(inside)

    assert error.value.reason is SkipReason.SEVERAL_IDS


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=4
).filter(lambda text: not text.isspace())


@st.composite
def elements(draw: st.DrawFn, depth: int = 4) -> str:
    """Any element of known and unknown names, with attributes, text and elements beside each other."""
    tag = draw(st.sampled_from(TAGS))
    names = draw(st.lists(st.sampled_from(ATTRIBUTES), unique=True, max_size=2))
    attributes = "".join(f" {name}={quoteattr(draw(texts))}" for name in names)
    inside = escape(draw(texts))
    for _ in range(draw(st.integers(0, 3)) if depth else 0):
        inside += draw(elements(depth - 1)) + escape(draw(texts))
    return f"<{tag}{attributes}>{inside}</{tag}>"


def said_in(value: object) -> Iterator[str]:
    """Every text that a record holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from said_in(inner)


def said_by(element: etree._Element) -> Iterator[str]:
    """Every text and attribute of an element, but for blanks that only indent."""
    yield from (str(value) for value in element.attrib.values() if value)
    pieces = [element.text, *(child.tail for child in element)]
    yield from (text for text in pieces if text and not (len(element) and text.isspace()))
    for child in element:
        yield from said_by(child)


@settings(deadline=None)
@given(st.lists(elements(), max_size=4), texts)
def test_nothing_of_any_xml_is_lost(inside: list[str], text: str) -> None:
    """Fault 75."""
    raw = f"<release id='1' status='s'>{escape(text)}{''.join(inside)}</release>".encode()
    root = etree.fromstring(raw)
    try:
        found = read_record(raw)
    except BrokenRecord as error:
        assert error.reason in (SkipReason.SEVERAL_IDS, SkipReason.NO_ID)
        return

    expected = Counter(said_by(root))
    expected -= Counter(child.get("is_main_release") or "" for child in root.findall("master_id"))
    expected -= Counter("1" for child in root.findall("id"))  # the same id once more
    assert expected <= Counter(said_in(found))
    assert not found.keys() & {"type", "sha256"}
    body = json.loads(to_message("releases", found).body)
    assert (body["type"], body["id"]) == ("data", "1")
