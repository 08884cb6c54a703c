"""Change what a dead letter's record says: by paths, or in an editor."""

import hashlib
import json
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.errors import StartRefused
from common.kinds import Names
from common.rabbitmq.ops.fates import Fate, Keep, Send
from common.rabbitmq.publishing.letter import PREFIX
from spindle.dead_letters.importing import sign_of
from spindle.dead_letters.letter import Letter, to_replay

EDITED_FROM = f"{PREFIX}edited-from"
"""The header that leads from an edited record, should it fail again, to the letter that it was made from."""

BY_HAND = 20
"""Letters that are opened in an editor, one after the other, before somebody has to say how many."""

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


class NotEditable(Exception):
    """A change can't be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to stand at a path (`artists[0].id`); the last step of an object may be new."""

    path: str
    value: Any = None
    removes: bool = False


@dataclass(slots=True)
class Edits:
    """The new bodies of chosen letters, and what became of them."""

    names: Names
    bodies: dict[object, list[bytes]] = field(default_factory=dict)
    """By the letters' signs; two that are the same have two."""
    unchanged: int = 0
    not_editable: list[str] = field(default_factory=list)
    """A sentence for each letter."""
    sent: int = 0
    refused: int = 0

    @property
    def waiting(self) -> int:
        """How many have not been sent."""
        return sum(map(len, self.bodies.values()))

    def make(self, letters: Sequence[Letter], edit: Callable[[Letter], bytes]) -> None:
        """Have each letter edited."""
        for letter in letters:
            try:
                body = edit(letter)
            except NotEditable as error:
                self.not_editable.append(f"{letter.kind} {letter.id or '(no id)'}: {error}")
            else:
                if body == letter.stored.body:
                    self.unchanged += 1
                else:
                    self.bodies.setdefault(sign_of(letter), []).append(body)

    def judge(self, letter: Letter) -> Fate:
        """Send the edited record to the queue that its letter came from; the letter stays until this is confirmed."""
        if not (bodies := self.bodies.get(sign_of(letter))):
            return Keep()
        properties = to_replay(letter)
        headers = {**properties.headers, EDITED_FROM: letter.number}
        queue = self.names.queue(letter.service, letter.kind)
        return Send(queue, replace(properties, headers=headers), self._sent, bodies.pop(0))

    def _sent(self, taken: bool) -> None:
        self.sent += taken
        self.refused += not taken


def change_of(text: str) -> Change:
    """Read `path=value`. A record's values are texts: only what begins as an object, a list or a text of JSON's, and
    `null`, is read as JSON.

    Raises: ValueError.
    """
    path, equals, value = text.partition("=")
    if not equals or not _steps(path):
        raise ValueError(f"{text!r} is not PATH=VALUE, as in artists[0].id=5")
    if value == "null":
        return Change(path)
    if value[:1] not in ("{", "[", '"'):
        return Change(path, value)
    try:
        return Change(path, json.loads(value, parse_constant=_refuse_constant))
    except (ValueError, RecursionError):
        raise ValueError(f"{value!r} is not JSON") from None


def removal_of(path: str) -> Change:
    """Read a path of which nothing is to be left.

    Raises: ValueError.
    """
    if not _steps(path):
        raise ValueError(f"{path!r} is not a path, as artists[0].id is")
    return Change(path, removes=True)


def edited(body: bytes, changes: Sequence[Change]) -> bytes:
    """The record with all changes; what they do not name stays as it was written.

    Raises: NotEditable.
    """
    numbers = _Numbers()
    try:
        record = numbers.read(body)
    except ValueError:
        raise NotEditable("its body is not JSON: without --set it can be edited as a text") from None
    if not isinstance(record, dict):
        raise NotEditable("its body is no JSON object")
    for change in changes:
        _make(record, change)
    return _rehashed(record, numbers)


def edited_by_hand(letter: Letter, environ: Mapping[str, str]) -> bytes:
    """Have somebody edit a body in $VISUAL or $EDITOR, again if it is no record afterwards.

    Raises: NotEditable, StartRefused if there is no editor.
    """
    command = environ.get("VISUAL") or environ.get("EDITOR")
    if not command:
        raise StartRefused("neither VISUAL nor EDITOR names an editor: set one, or say --set PATH=VALUE")
    numbers, body = _Numbers(), letter.stored.body
    with tempfile.TemporaryDirectory(prefix="spindle-") as folder:
        path = Path(folder) / f"{letter.kind}.json"
        path.write_bytes(before := numbers.readable(body))
        while True:
            _open(command, path)
            if (saved := path.read_bytes()) == before:
                return body
            try:
                record = numbers.read(saved)
                if isinstance(record, dict):
                    return _rehashed(record, numbers)
                why = "what was saved is no JSON object"
            except ValueError as error:
                why = f"what was saved is not JSON: {error}"
            if not _shall_go_on(why):
                raise NotEditable(why)


class _Numbers:
    """Reads and writes JSON, and keeps numbers as they are written: 1.10, and more digits than a float has."""

    def __init__(self) -> None:
        self._mark = secrets.token_hex(16)
        self._marked = re.compile(f'"{self._mark}([^"]*)"')

    def read(self, text: bytes) -> Any:
        """Raises: ValueError."""
        try:
            return json.loads(text, parse_float=self._keep, parse_int=self._keep, parse_constant=_refuse_constant)
        except RecursionError:
            raise ValueError("it is nested too deep") from None

    def write(self, value: Any, **how: Any) -> bytes:
        """Raises: NotEditable."""
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, **how)
            written = self._marked.sub(r"\1", text)
            return written.encode()
        except UnicodeEncodeError:  # half of a pair of surrogates: only escaped it is UTF-8
            return self._marked.sub(r"\1", json.dumps(value, ensure_ascii=True, allow_nan=False, **how)).encode()
        except (ValueError, RecursionError) as error:
            raise NotEditable(f"it can't be written as JSON: {error}") from None

    def readable(self, body: bytes) -> bytes:
        """On lines of its own, if it is JSON."""
        try:
            return self.write(self.read(body), indent=2) + b"\n"
        except (ValueError, NotEditable):
            return body

    def _keep(self, literal: str) -> str:
        return f"{self._mark}{literal}"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _open(command: str, path: Path) -> None:
    try:
        code = subprocess.run([*shlex.split(command), str(path)], check=False).returncode  # noqa: S603 (the user's own)
    except (OSError, ValueError) as error:
        raise StartRefused(f"the editor {command} can't be started: {error}") from error
    if code != 0:
        raise NotEditable(f"the editor ended with {code}")


def _shall_go_on(why: str) -> bool:
    if not sys.stdin.isatty():
        return False
    print(f"{why}. Edit it again? [Y/n] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("", "y", "yes")


def _steps(path: str) -> list[str | int]:
    if "".join(match[0] for match in _STEP.finditer(path)) != path or path.startswith("."):
        return []
    return [int(match[2]) if match[2] else match[1] for match in _STEP.finditer(path)]


def _make(record: Any, change: Change) -> None:
    *way, last = _steps(change.path)
    place = record
    for step in way:
        place = _at(place, step, change.path)
    is_new = isinstance(last, str) and isinstance(place, dict) and not change.removes
    if not is_new:
        _at(place, last, change.path)
    if change.removes:
        del place[last]
    else:
        place[last] = change.value


def _at(place: Any, step: str | int, path: str) -> Any:
    fits = isinstance(place, list) if isinstance(step, int) else isinstance(place, dict)
    if not fits or (step >= len(place) if isinstance(step, int) else step not in place):
        raise NotEditable(f"there is no {path} in it")
    return place[step]


def _rehashed(record: dict[str, Any], numbers: _Numbers) -> bytes:
    """With a sha256 of its own: what the dump says differs from it, and replaces it."""
    if "sha256" in record:
        content = {key: value for key, value in record.items() if key != "sha256"}
        compact = numbers.write(content, sort_keys=True, separators=(",", ":"))
        record["sha256"] = hashlib.sha256(compact).hexdigest()
    return numbers.write(record, separators=(",", ":"))
