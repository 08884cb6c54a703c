"""A record's XML element as the record of the wire format.

The rule for what is empty, read off the wire format's example (whose `profile` is null) and its sentence "keys are
absent when empty": an element that is there without text gives null, an element that is not there gives no key, and a
container without entries gives no key either. An attribute's value stays as it stands, "" included. Text is passed on
untouched: blanks, CR and TAB are the dump's. Images are dropped; an element that nobody knows yet is passed on in
XML-like shape.

Nothing else is lost, and nothing is overwritten, however the format drifts. What comes again is a list, or adds to
the list that it is. What has no place under its own name gets one that no XML name can be: `#text` for text beside
elements, `#type` for an element that is called as a part of the envelope is, `#genres` for all of an element that
holds more than its known shape can say, beside the shape.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lxml import etree

from extractor.fitting import FITS
from extractor.message import ENVELOPE, Record

VERSION = 1
"""To be raised when the same XML gives another record: digests of the XML say nothing about records of another."""

# Containers whose children are always a list in XML-like shape, so that one entry looks like several.
_CONTAINERS = frozenset(
    {"artists", "companies", "extraartists", "identifiers", "series", "sub_tracks", "tracklist", "videos"}
)


def to_record(element: etree._Element) -> Record:
    """Turn a record's element of any kind and era into the record; its `id` is a text only if there is exactly one."""
    record: Record = _record_attributes(element)
    has_text = element.text is not None
    for child in element:
        tag = child.tag
        shape = _SHAPES.get(tag)
        value = xml_like(child) if shape is None else shape(child)
        if tag in record or tag in ENVELOPE:
            _put_beside(record, element, tag, value)
        elif value or shape in (None, _text):
            record[tag] = value
        if (fits := FITS.get(tag)) and not fits(child):
            _add(record, f"#{tag}", xml_like(child))
        if child.tail is not None:
            has_text = True
    return _with_text(record, element) if has_text else record


def xml_like(element: etree._Element) -> Any:
    """An element as it is: its text if it has nothing else, or `@attribute`, child and `#text` keys."""
    # The stubs say that names and values may be bytes: only what was set as bytes is, and a parser sets none.
    attributes: Sequence[tuple[str, str]] = element.items()  # type: ignore[assignment]
    if not len(element):
        return _leaf(element.text, attributes)
    shaped: dict[str, Any] = {f"@{name}": value for name, value in attributes}
    has_text = element.text is not None
    for child in element:
        tag = child.tag
        if tag in _CONTAINERS:
            if listed := _listed(child):
                _add(shaped, tag, listed)
        elif tag in shaped:
            _add(shaped, tag, xml_like(child))
        elif len(child):
            shaped[tag] = xml_like(child)
        else:  # most of a dump's elements end here, so that one call less for each is worth a line
            shaped[tag] = _leaf(child.text, child.items())  # type: ignore[arg-type]  # as above
        if child.tail is not None:
            has_text = True
    return _with_text(shaped, element) if has_text else shaped


def _record_attributes(element: etree._Element) -> Record:
    attributes = _attributes(element)
    return {f"@{name}" if name in ENVELOPE else name: value for name, value in attributes.items()}


def _put_beside(record: Record, element: etree._Element, tag: str, value: Any) -> None:
    """Give a record what one of its elements says, although something else has that name."""
    if tag in ENVELOPE:
        _add(record, f"#{tag}", value)
    elif not value and _SHAPES.get(tag) not in (None, _text):
        return
    elif tag != "id" and f"@{tag}" not in record and element.get(tag) is not None:
        record[f"@{tag}"], record[tag] = record[tag], value  # it was an attribute that had the name
    elif tag != "id" or value != record[tag]:  # the same id once more is the same id
        _add(record, tag, value)


def _add(shaped: dict[str, Any], key: str, value: Any) -> None:
    """Note a key's value, beside the value that it has already, if any."""
    if key not in shaped:
        shaped[key] = value
        return
    known = shaped[key]
    if isinstance(known, list):
        shaped[key] = known + (value if isinstance(value, list) else [value])
    elif _holds_lists(known) and _holds_lists(value):
        for name, entries in value.items():
            known[name] = known.get(name, []) + entries
    else:
        shaped[key] = [known, value]


def _holds_lists(value: object) -> bool:
    """Whether this is a container like `{track: […]}`."""
    return isinstance(value, dict) and all(isinstance(entries, list) for entries in value.values())


def _with_text(shaped: dict[str, Any], element: etree._Element) -> dict[str, Any]:
    """Add what text stands beside an element's children, but for blanks, which indent."""
    if pieces := [text for text in (element.text, *(child.tail for child in element)) if text and not text.isspace()]:
        shaped["#text"] = pieces[0] if len(pieces) == 1 else pieces
    return shaped


def _leaf(text: str | None, attributes: Sequence[tuple[str, str]]) -> Any:
    """An element without children."""
    if not attributes:
        return text
    shaped: dict[str, Any] = {f"@{name}": value for name, value in attributes}
    if text:
        shaped["#text"] = text
    return shaped


def _listed(element: etree._Element) -> dict[str, Any]:
    """`{track: […]}`: a container in XML-like shape, its children always as lists."""
    listed: dict[str, Any] = {f"@{name}": value for name, value in element.items()}  # type: ignore[str-bytes-safe]
    has_text = element.text is not None
    for child in element:
        if (shaped := xml_like(child)) is not None:
            listed.setdefault(child.tag, []).append(shaped)
        if child.tail is not None:
            has_text = True
    return _with_text(listed, element) if has_text else listed


def _texts(element: etree._Element) -> list[str]:
    """`[str]`: genres, styles."""
    return [text for child in element if (text := child.text)]


def _nested_texts(element: etree._Element) -> dict[str, list[str]]:
    """`{url: [str]}`: urls, name variations, descriptions of a format."""
    nested: dict[str, list[str]] = {}
    for child in element:
        if child.text:
            nested.setdefault(child.tag, []).append(child.text)
    return nested


def _reference(element: etree._Element) -> dict[str, str]:
    """`{id, name}` of an element whose text is the name; without id until 2017."""
    reference = {key: value for key, value in _attributes(element).items() if key == "id"}
    if element.text:
        reference["name"] = element.text
    return reference


def _references(element: etree._Element) -> list[dict[str, str]]:
    """`[{id, name}]`: members, groups, aliases, sublabels.

    Until 2020 each member comes as a sibling `id` and then its `name`; in 2017 that `id` is the only one there is.
    """
    references: list[dict[str, str]] = []
    sibling: str | None = None
    for child in element:
        if child.tag == "id":
            sibling = child.text
            continue
        reference = ({"id": sibling} if sibling else {}) | _reference(child)
        sibling = None
        if reference:
            references.append(reference)
    return references


def _credits(element: etree._Element) -> list[Any]:
    """`[{id, name, anv, join, role, tracks}]`: artists, extraartists."""
    return [xml_like(child) for child in element if len(child)]


def _labels(element: etree._Element) -> list[dict[str, str]]:
    """`[{id, name, catno}]`: the labels of a release."""
    return [attributes for child in element if (attributes := _attributes(child))]


def _formats(element: etree._Element) -> list[dict[str, Any]]:
    """`[{name, qty, text, descriptions{description}}]`."""
    formats: list[dict[str, Any]] = []
    for child in element:
        shaped: dict[str, Any] = dict(_attributes(child))
        for inner in child:
            if descriptions := _nested_texts(inner):
                shaped[inner.tag] = descriptions
        formats.append(shaped)
    return formats


def _text(element: etree._Element) -> str | None:
    """`master_id`: its attribute has no place in the wire format, for the master names its main release."""
    return element.text


def _attributes(element: etree._Element) -> dict[str, str]:
    return dict(element.items())  # type: ignore[arg-type]  # the stubs, as in xml_like


def _dropped(_: etree._Element) -> None:
    """Images: without addresses since 2015, gone since 2024."""


_SHAPES: dict[str, Callable[[etree._Element], Any]] = {
    "aliases": _references,
    "artists": _credits,
    "companies": _listed,
    "extraartists": _credits,
    "formats": _formats,
    "genres": _texts,
    "groups": _references,
    "identifiers": _listed,
    "images": _dropped,
    "labels": _labels,
    "master_id": _text,
    "members": _references,
    "namevariations": _nested_texts,
    "parentLabel": _reference,
    "series": _listed,
    "styles": _texts,
    "sublabels": _references,
    "tracklist": _listed,
    "urls": _nested_texts,
    "videos": _listed,
}
