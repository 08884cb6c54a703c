"""Read a table of headers, whatever its producer has put into it.

pamqp refuses a type that it does not know and a key that is not UTF-8, calls itself once for each level, and copies
the rest of the table for every value. Here one pass reads what can be read. What can't be, or goes beyond what anybody
needs, is kept as the bytes that it came as, so that a copy of the message has it too.
"""

import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

DEPTH = 32
"""Levels that are read; a table or list below them stays `Raw`."""

VALUES = 10_000
"""Values that are read of one table, all levels together: 5 ms of a loop that has other things to do."""


class Raw(bytes):
    """A value that was not read: its type and what follows it."""


class _Rest(str):
    __slots__ = ()
    __eq__, __hash__ = object.__eq__, object.__hash__  # no header of a producer's is this one


REST: Final = _Rest("(not read)")
"""The key of entries that were not read: keys and values, as bytes. Whoever writes the table writes them last."""

_LENGTH = struct.Struct(">I")


class _Fixed(NamedTuple):
    """A value of always as many bytes."""

    format: struct.Struct
    read: Callable[..., Any]


def read_table(data: bytes, at: int, end: int) -> dict[str, Any]:
    """Read the entries of a table between two places, its length not included."""
    return _Reading(data).table(at, min(end, len(data)), DEPTH)


class Entry(NamedTuple):
    """Where an entry of a table stands."""

    key: bytes
    kind: int
    """The type of its value."""
    at: int
    """Where the value's content begins: behind its type, and behind its length if it has one."""
    stop: int


def entries(data: bytes, at: int, end: int) -> list[Entry]:
    """Where the entries of a table stand, up to one that can't be read; those of inner tables are not looked at."""
    reading, found = _Reading(data), list[Entry]()
    with suppress(_Unreadable):
        while at < end:
            key_at = at + 1
            value_at = key_at + data[at]
            content_at, stop = reading.bounds(value_at, end)
            found.append(Entry(data[key_at:value_at], data[value_at], content_at, stop))
            at = stop
    return found


def time_of(seconds: int) -> datetime | None:
    """A timestamp; None for one beyond the year 9999."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _same(value: Any) -> Any:
    return value


_FIXED: Mapping[int, _Fixed] = {
    ord(kind): _Fixed(struct.Struct(f">{code}"), read)
    for kind, code, read in (
        ("t", "B", bool),
        ("b", "b", _same),
        ("B", "B", _same),
        ("s", "h", _same),
        ("u", "H", _same),
        ("I", "i", _same),
        ("i", "I", _same),
        ("l", "q", _same),
        ("L", "q", _same),
        ("f", "f", _same),
        ("d", "d", _same),
        ("D", "BI", lambda scale, digits: Decimal(digits).scaleb(-scale)),
        ("T", "Q", time_of),
        ("V", "", lambda: None),
        ("\0", "", lambda: None),  # of no specification, and seen all the same
    )
}
_TEXT, _BYTES, _TABLE, _LIST, _TIME = b"SxFAT"


class _Unreadable(Exception):
    """Nobody knows where the next value begins."""


class _Reading:
    """One pass over a table."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = VALUES

    def table(self, at: int, end: int, depth: int) -> dict[str, Any]:
        data, values = self._data, dict[str, Any]()
        while at < end:
            key_at = at + 1
            value_at = key_at + data[at]
            key = data[key_at:value_at].decode("utf-8", "replace")
            try:
                values[key], at = self._value(value_at, end, depth)
            except _Unreadable:
                values[REST] = data[at:end]
                break
        return values

    def _list(self, at: int, end: int, depth: int) -> list[Any]:
        """Raises: _Unreadable, because a list has no place for a rest."""
        values = []
        while at < end:
            value, at = self._value(at, end, depth)
            values.append(value)
        return values

    def _value(self, at: int, end: int, depth: int) -> tuple[Any, int]:
        """A value, and where the next one begins."""
        self._left -= 1
        if at >= end or self._left < 0:
            raise _Unreadable
        kind, at = self._data[at], at + 1
        fixed = _FIXED.get(kind)
        stop = at + fixed.format.size if fixed else self._stop(at, end)
        if stop > end:
            raise _Unreadable
        if fixed:
            value = fixed.read(*fixed.format.unpack_from(self._data, at))
            return Raw(self._data[at - 1 : stop]) if value is None and kind == _TIME else value, stop
        try:
            return self._long(kind, at + _LENGTH.size, stop, depth - 1), stop
        except _Unreadable:
            return Raw(self._data[at - 1 : stop]), stop

    def bounds(self, at: int, end: int) -> tuple[int, int]:
        """From where to where the content of a value stands, however deep it is. Raises: _Unreadable."""
        if at >= end:
            raise _Unreadable
        fixed = _FIXED.get(self._data[at])
        content_at = at + 1 if fixed else at + 1 + _LENGTH.size
        stop = content_at + fixed.format.size if fixed else self._stop(at + 1, end)
        if stop > end:
            raise _Unreadable
        return content_at, stop

    def _stop(self, at: int, end: int) -> int:
        """Where a value ends that begins with its length."""
        if at + _LENGTH.size > end:
            raise _Unreadable
        return at + _LENGTH.size + int(_LENGTH.unpack_from(self._data, at)[0])

    def _long(self, kind: int, at: int, stop: int, depth: int) -> Any:
        if kind == _TEXT:
            return _text(self._data[at:stop])
        if kind == _BYTES:
            return bytearray(self._data[at:stop])
        if depth and kind == _TABLE:
            return self.table(at, stop, depth)
        if depth and kind == _LIST:
            return self._list(at, stop, depth)
        raise _Unreadable


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
