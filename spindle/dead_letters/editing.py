"""Change what a dead letter's record says: by paths, or in an editor. Pure but for the editor."""

import hashlib
import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import StartRefused
from common.kinds import Names
from common.rabbitmq.ops.fates import Send
from common.rabbitmq.publishing.letter import PREFIX
from spindle.dead_letters.letter import Letter, to_replay

EDITED_FROM = f"{PREFIX}edited-from"
"""The header that leads from an edited record, should it fail again, to the letter that it was made from."""

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


class NotEditable(Exception):
    """A change can't be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to stand at a path (`artists[0].id`); the last step of an object may be new. `value` is JSON's."""

    path: str
    value: Any = None
    removes: bool = False


def change_of(text: str) -> Change:
    """Read `path=value`; what is no JSON is a text.

    Raises: ValueError.
    """
    path, equals, value = text.partition("=")
    if not equals or not _steps(path):
        raise ValueError(f'{text!r} is not PATH=VALUE, as in artists[0].id="5"')
    try:
        return Change(path, json.loads(value))
    except ValueError:
        return Change(path, value)


def removal_of(path: str) -> Change:
    """Read a path of which nothing is to be left.

    Raises: ValueError.
    """
    if not _steps(path):
        raise ValueError(f"{path!r} is not a path, as artists[0].id is")
    return Change(path, removes=True)


def edited(body: bytes, changes: Sequence[Change]) -> bytes:
    """The record with all changes.

    Raises: NotEditable.
    """
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        raise NotEditable("its body is not JSON: without --set it can be edited as a text") from None
    if not isinstance(record, dict):
        raise NotEditable("its body is no JSON object")
    for change in changes:
        _make(record, change)
    return _rehashed(record)


def edited_by_hand(body: bytes, path: Path) -> bytes:
    """Have somebody edit a body in $VISUAL or $EDITOR; `path` is the file for it.

    Raises: NotEditable if it is no record afterwards, StartRefused if there is no editor.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not command:
        raise StartRefused("neither VISUAL nor EDITOR names an editor: set one, or say --set PATH=VALUE")
    path.write_bytes(_readable(body))
    try:
        code = subprocess.run([*shlex.split(command), str(path)], check=False).returncode  # noqa: S603 (the user's own)
    except OSError as error:
        raise StartRefused(f"the editor {command} can't be started: {error.strerror}") from error
    if code != 0:
        raise NotEditable(f"the editor ended with {code}")
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise NotEditable(f"what was saved is not JSON: {error}") from None
    if not isinstance(record, dict):
        raise NotEditable("what was saved is no JSON object")
    return body if _readable(body) == path.read_bytes() else _rehashed(record)


def in_editor(letters: Sequence[Letter]) -> dict[tuple[str, bytes], bytes]:
    """The new bodies by the letters' marks, of those that were changed.

    Raises: as `edited_by_hand`.
    """
    found: dict[tuple[str, bytes], bytes] = {}
    with tempfile.TemporaryDirectory(prefix="spindle-") as folder:
        for letter in letters:
            body = edited_by_hand(letter.stored.body, Path(folder) / f"{letter.kind}.json")
            if body != letter.stored.body:
                found[letter.mark] = body
    return found


def to_send(letter: Letter, body: bytes, names: Names, sent: Any) -> Send:
    """The edited record on its way to the queue that its letter came from; that stays until this is confirmed."""
    properties = to_replay(letter)
    headers = {**properties.headers, EDITED_FROM: letter.number}
    return Send(names.queue(letter.service, letter.kind), replace(properties, headers=headers), sent, body)


def _steps(path: str) -> list[str | int]:
    if "".join(match[0] for match in _STEP.finditer(path)) != path or path.startswith("."):
        return []
    return [int(match[2]) if match[2] else match[1] for match in _STEP.finditer(path)]


def _make(record: Any, change: Change) -> None:
    *way, last = _steps(change.path)
    place = record
    for step in way:
        place = _at(place, step, change.path)
    if isinstance(last, str) and isinstance(place, dict):
        if change.removes:
            _at(place, last, change.path)
            del place[last]
        else:
            place[last] = change.value
        return
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


def _rehashed(record: dict[str, Any]) -> bytes:
    """With a sha256 of its own, so that the next load replaces it by what the dump says."""
    if "sha256" in record:
        content = {key: value for key, value in record.items() if key != "sha256"}
        text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        record["sha256"] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _readable(body: bytes) -> bytes:
    try:
        return (json.dumps(json.loads(body), ensure_ascii=False, indent=2) + "\n").encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return body
