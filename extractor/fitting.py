"""Whether an element holds only what its known shape can say (normalising.py).

The known shapes were read off twelve years of dumps. Where a new dump says more, an attribute of a genre or a text
beside the credits, the shape still says what it always did, and would leave out the rest.
"""

from collections.abc import Callable

from lxml import etree

Fits = Callable[[etree._Element], bool]


def _container(fits: Fits) -> Fits:
    """Nothing but entries that fit: no attributes, and no text that is more than indentation."""

    def holds_entries(element: etree._Element) -> bool:
        if element.keys() or not _is_blank(element.text):
            return False
        for entry in element:  # noqa: SIM110 - all() takes half as long again, for each entry of each record
            if not fits(entry) or (entry.tail and not entry.tail.isspace()):
                return False
        return True

    return holds_entries


def _is_text(entry: etree._Element) -> bool:
    """`str`."""
    return not len(entry) and not entry.keys()


def _is_reference(entry: etree._Element) -> bool:
    """`{id, name}`."""
    return not len(entry) and entry.keys() in ([], ["id"])


def _is_reference_or_id(entry: etree._Element) -> bool:
    """`{id, name}`, or the sibling `id` before it."""
    return _is_text(entry) if entry.tag == "id" else _is_reference(entry)


def _is_credit(entry: etree._Element) -> bool:
    """`{id, name, …}`: XML-like, or nothing at all."""
    return len(entry) > 0 or not (entry.text or entry.keys())


def _is_label(entry: etree._Element) -> bool:
    """`{id, name, catno}`: attributes alone."""
    return not len(entry) and _is_blank(entry.text)


def _is_format(entry: etree._Element) -> bool:
    """`{name, qty, text, descriptions{description}}`: attributes, and one container of texts."""
    if len(entry) > 1 or not _is_blank(entry.text):
        return False
    return all(inner.tag not in entry.attrib and _holds_texts(inner) and _is_blank(inner.tail) for inner in entry)


def _is_master_id(element: etree._Element) -> bool:
    return not len(element) and element.keys() in ([], ["is_main_release"])


def _is_blank(text: str | None) -> bool:
    return not text or text.isspace()


_holds_texts, _holds_references, _holds_credits = map(_container, (_is_text, _is_reference_or_id, _is_credit))

FITS: dict[str, Fits] = {
    "aliases": _holds_references,
    "artists": _holds_credits,
    "extraartists": _holds_credits,
    "formats": _container(_is_format),
    "genres": _holds_texts,
    "groups": _holds_references,
    "labels": _container(_is_label),
    "master_id": _is_master_id,
    "members": _holds_references,
    "namevariations": _holds_texts,
    "parentLabel": _is_reference,
    "styles": _holds_texts,
    "sublabels": _holds_references,
    "urls": _holds_texts,
}
"""By name, for the shapes that are not XML-like; those lose nothing."""
