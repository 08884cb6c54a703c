"""Read back what `dead-letters export` wrote. Every line is looked at before anything is put anywhere."""

import base64
import binascii
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from common.errors import StartRefused
from common.kinds import KINDS, Service
from common.rabbitmq.ops.header import header_of, properties_in
from common.rabbitmq.ops.queue_reader import StoredLetter
from spindle.dead_letters.exporting import STANDARD_OUTPUT
from spindle.dead_letters.letter import Letter, read

STANDARD_INPUT = STANDARD_OUTPUT


class _Wrong(Exception):
    """A line is none of an export's; the text says why."""


def letters_of(path: Path) -> list[Letter]:
    """All letters of an export, in its order; `-` is standard input.

    Raises: StartRefused, which names the line.
    """
    if path == STANDARD_INPUT:
        return list(_letters(sys.stdin, "standard input"))
    try:
        with path.open(encoding="utf-8") as lines:
            return list(_letters(lines, str(path)))
    except OSError as error:
        raise StartRefused(f"{path} can't be read: {error.strerror}") from error


def sign_of(letter: Letter) -> object:
    """What a letter is found again by: its number and body; without a number, which the broker's own have not, all of
    it."""
    about = letter.service, letter.kind, letter.mark
    return about if letter.number else (*about, header_of(letter.stored.properties, letter.stored.body))


def missing(letters: Iterable[Letter], there: Counter[object]) -> list[Letter]:
    """Those that are not in their queues, by their signs; a sign that is there twice covers two letters."""
    left, lacking = there.copy(), []
    for letter in letters:
        if left[sign := sign_of(letter)]:
            left[sign] -= 1
        else:
            lacking.append(letter)
    return lacking


def by_queue(letters: Sequence[Letter]) -> dict[tuple[Service, str], list[StoredLetter]]:
    """The letters of each service and kind."""
    found: dict[tuple[Service, str], list[StoredLetter]] = {}
    for letter in letters:
        found.setdefault((letter.service, letter.kind), []).append(letter.stored)
    return found


def _letters(lines: Iterable[str], name: str) -> Iterator[Letter]:
    try:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield _letter(line)
                except _Wrong as wrong:
                    raise StartRefused(f"{name}, line {number}: {wrong}. Nothing was imported.") from None
    except UnicodeDecodeError as error:
        raise StartRefused(f"{name} is no text in UTF-8: it was not written by `dead-letters export`.") from error


def _letter(line: str) -> Letter:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise _Wrong("it is not JSON, or was cut") from None
    if not isinstance(said, dict):
        raise _Wrong("it is no letter: an object is expected")
    service, kind = said.get("service"), said.get("kind")
    if service not in tuple(Service) or kind not in KINDS:
        raise _Wrong(f"service {service!r} or kind {kind!r} is unknown; allowed are {', '.join((*Service, *KINDS))}")
    body = _body(said)
    if (header := _bytes(said, "header")) is None:
        raise _Wrong("header is missing: an older version exported it, and its properties are not in it")
    try:
        properties = properties_in(header, body)
    except ValueError:
        raise _Wrong("header does not belong to this body, or was changed: it can't be edited here") from None
    return read(StoredLetter(body, properties), Service(service), kind)


def _body(said: dict[str, Any]) -> bytes:
    text, raw = said.get("body"), _bytes(said, "body_base64")
    if isinstance(text, str) and raw is None:
        return text.encode()
    if raw is not None and text is None:
        return raw
    raise _Wrong("exactly one of body and body_base64 is needed")


def _bytes(said: dict[str, Any], name: str) -> bytes | None:
    if name not in said:
        return None
    try:
        return base64.b64decode(str(said[name]), validate=True)
    except (binascii.Error, ValueError):
        raise _Wrong(f"{name} is no base64") from None
