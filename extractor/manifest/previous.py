"""The manifest of the load before, to ask for one id after another.

Ids come ascending as a rule: the rows around the last answer are kept, and the next ones are read when they are needed.
"""

from bisect import bisect_right
from functools import lru_cache

from extractor.manifest.format import Row
from extractor.manifest.reader import Manifest

_ROWS = 4096
"""Rows that are read together: 86 KB."""


class Previous:
    """A manifest that answers for single ids."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        # Every 4096th id: 5,000 of them for all releases.
        self._firsts = [manifest.rows_at(first, 1)[0].id for first in range(0, len(manifest), _ROWS)]
        self._rows = lru_cache(maxsize=64)(self._read)

    def find(self, number: int) -> Row | None:
        """The row of an id, or None."""
        part = bisect_right(self._firsts, number) - 1
        return self._rows(part).get(number) if part >= 0 else None

    def _read(self, part: int) -> dict[int, Row]:
        return {row.id: row for row in self._manifest.rows_at(part * _ROWS, _ROWS)}
