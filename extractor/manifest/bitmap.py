"""A set of ids, a bit for each possible one: 5 MB for all releases."""

from collections.abc import Iterable


class Bitmap:
    """Ids from 0 up to `highest`; others are not in it."""

    def __init__(self, highest: int) -> None:
        self._bits = bytearray(highest // 8 + 1)

    def add_all(self, ids: Iterable[int]) -> None:
        """Hold these too; none is above `highest`."""
        bits = self._bits
        for each in ids:
            bits[each >> 3] |= 1 << (each & 7)

    def __contains__(self, each: int) -> bool:
        return 0 <= each < len(self._bits) * 8 and bool(self._bits[each >> 3] & 1 << (each & 7))
