"""A record's XML element as the record of the wire format.

The rule for what is empty, read off the wire format's example (whose `profile` is null) and its sentence "keys are
absent when empty": an element that is there without text gives null, an element that is not there gives no key, and a
container without entries gives no key either. An attribute's value stays as it stands, "" included. Text is passed on
untouched: blanks, CR and TAB are the dump's. Images are dropped; an element that nobody knows yet is passed on in
XML-like shape.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lxml import etree

from extractor.message import Record

# Containers whose children are always a list in XML-like shape, so that one entry looks like several.
_CONTAINERS = frozenset(
    {"artists", "companies", "extraartists", "identifiers", "series", "sub_tracks", "tracklist", "videos"}
)


def to_record(element: etree._Element) -> Record:
    """Turn a record's element of any kind and era into the record; `id` is there only if the element has one."""
    record: Record = dict(_attributes(element))
    for child in element:
        tag = child.tag
        shape = _SHAPES.get(tag)
        if shape is None:
            # The attribute of `master_id` has no place in the wire format: the master names its main release.
            record[tag] = child.text if tag == "master_id" else xml_like(child)
        elif value := shape(child):
            record[tag] = value
    return record


def xml_like(element: etree._Element) -> Any:
    """An element as it is: its text if it has nothing else, or `@attribute`, child and `#text` keys."""
    # The stubs say that names and values may be bytes: only what was set as bytes is, and a parser sets none.
    attributes: Sequence[tuple[str, str]] = element.items()  # type: ignore[assignment]
    if not len(element):
        return _leaf(element.text, attributes)
    shaped: dict[str, Any] = {f"@{name}": value for name, value in attributes}
    for child in element:
        tag = child.tag
        if tag in _CONTAINERS:
            if listed := _listed(child):
                shaped[tag] = listed
        elif tag in shaped:
            _repeat(shaped, child)
        elif len(child):
            shaped[tag] = xml_like(child)
        else:  # most of a dump's elements end here, so that one call less for each is worth a line
            shaped[tag] = _leaf(child.text, child.items())  # type: ignore[arg-type]  # as above
    return shaped


def _leaf(text: str | None, attributes: Sequence[tuple[str, str]]) -> Any:
    """An element without children."""
    if not attributes:
        return text
    shaped: dict[str, Any] = {f"@{name}": value for name, value in attributes}
    if text:
        shaped["#text"] = text
    return shaped


def _repeat(shaped: dict[str, Any], child: etree._Element) -> None:
    """Make a list of a tag that comes again, in an element that nobody knows yet."""
    known = shaped[child.tag]
    shaped[child.tag] = [*(known if isinstance(known, list) else [known]), xml_like(child)]


def _listed(element: etree._Element) -> dict[str, list[Any]]:
    """`{track: […]}`: a container in XML-like shape, its children always as lists."""
    listed: dict[str, list[Any]] = {}
    for child in element:
        if (shaped := xml_like(child)) is not None:
            listed.setdefault(child.tag, []).append(shaped)
    return listed


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
