"""A set of 32-bit numbers as bits: the 20 million ids of a kind take 3 MB, and a few scattered ones a few pages."""

from collections.abc import Iterable, Iterator

_PAGE_BITS = 16
_IN_PAGE = (1 << _PAGE_BITS) - 1


class IdSet:
    """Ids, each once. Pages of 8 KiB are made where an id falls."""

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self._pages: dict[int, bytearray] = {}
        self._count = 0
        for number in ids:
            self.add(number)

    def add(self, number: int) -> bool:
        """Put one in. Returns: whether it is new."""
        page = self._pages.get(number >> _PAGE_BITS)
        if page is None:
            page = self._pages[number >> _PAGE_BITS] = bytearray(1 << _PAGE_BITS - 3)
        place, bit = (number & _IN_PAGE) >> 3, 1 << (number & 7)
        if page[place] & bit:
            return False
        page[place] |= bit
        self._count += 1
        return True

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        page = self._pages.get(number >> _PAGE_BITS)
        return page is not None and bool(page[(number & _IN_PAGE) >> 3] & 1 << (number & 7))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        """In ascending order."""
        for high, page in sorted(self._pages.items()):
            for place, byte in enumerate(page):
                if byte:
                    yield from (high << _PAGE_BITS | place << 3 | bit for bit in range(8) if byte & 1 << bit)
