"""Write releases as a dump file, so that the extractor has XML to read: its normalising, backwards."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import msgspec

from extractor.message import Message

_ENVELOPE = ("type", "sha256")
_ATTRIBUTES = ("id", "status")
_ENTRY = {"artists": "artist", "extraartists": "artist", "genres": "genre", "styles": "style"}
_TEXT = {"\r": "&#13;"}  # what a parser would make a line end of


def write_dump(path: Path, messages: Iterable[Message]) -> None:
    """Write them; the extractor makes the same messages of the file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("<releases>\n")
        for message in messages:
            file.write("".join(_release(msgspec.json.decode(message.body))))
            file.write("\n")
        file.write("</releases>\n")


def _release(record: Mapping[str, Any]) -> Iterator[str]:
    yield _start("release", {name: record[name] for name in _ATTRIBUTES if name in record})
    for tag, value in record.items():
        if tag not in (*_ENVELOPE, *_ATTRIBUTES):
            yield from _child(tag, value)
    yield "</release>"


def _child(tag: str, value: Any) -> Iterator[str]:
    if tag == "labels":
        yield from _around(tag, (f"{_start('label', each)}</label>" for each in value))
    elif tag == "formats":
        yield from _around(tag, (part for each in value for part in _format(each)))
    elif isinstance(value, list):
        yield from _around(tag, (part for each in value for part in _element(_ENTRY[tag], each)))
    else:
        yield from _element(tag, value)


def _format(shaped: Mapping[str, Any]) -> Iterator[str]:
    children = {name: value for name, value in shaped.items() if isinstance(value, dict)}
    yield _start("format", {name: value for name, value in shaped.items() if name not in children})
    for name, value in children.items():
        yield from _element(name, value)
    yield "</format>"


def _element(tag: str, shaped: Any) -> Iterator[str]:
    """An element of what the wire format calls XML-like: `@attribute`, child and `#text` keys, or its text alone."""
    if isinstance(shaped, str):
        yield f"<{tag}>{escape(shaped, _TEXT)}</{tag}>"
    elif shaped is None:
        yield f"<{tag}/>"
    else:
        yield _start(tag, {name[1:]: value for name, value in shaped.items() if name.startswith("@")})
        for name, value in shaped.items():
            if name == "#text":
                yield escape(value, _TEXT)
            elif not name.startswith("@"):
                for each in value if isinstance(value, list) else [value]:
                    yield from _element(name, each)
        yield f"</{tag}>"


def _around(tag: str, inside: Iterable[str]) -> Iterator[str]:
    yield f"<{tag}>"
    yield from inside
    yield f"</{tag}>"


def _start(tag: str, attributes: Mapping[str, str]) -> str:
    shown = "".join(f" {name}={quoteattr(value, _TEXT)}" for name, value in attributes.items())
    return f"<{tag}{shown}>"
