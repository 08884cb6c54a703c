"""Compare a dump file with the file of checksums that Discogs lays beside it: `discogs_20260301_CHECKSUM.txt`."""

import re
from pathlib import Path

from common.errors import SpindleError

_LINE = re.compile(r"([0-9a-fA-F]{64})\s+\*?(\S+)")


class ChecksumDiffers(SpindleError):
    """A dump file was read whole, and is not the one that Discogs has published."""


def compare(path: Path, load: str, sha256: str) -> str:
    """`matched`, or `absent` if nothing says what the checksum should be.

    Raises: ChecksumDiffers.
    """
    beside = path.with_name(f"discogs_{load}_CHECKSUM.txt")
    expected = _expected(beside).get(path.name)
    if expected is None:
        return "absent"
    if expected != sha256:
        raise ChecksumDiffers(
            f"{path.name} is not the file that was published: {beside.name} says sha256 {expected}, and it has "
            f"{sha256}. What could be read is published, and nobody is told that it is complete; download it again"
        )
    return "matched"


def sums_in(text: str) -> dict[str, str]:
    """The sums of such a file by name; lines that say none are passed over."""
    return {found[2]: found[1].lower() for line in text.splitlines() if (found := _LINE.fullmatch(line.strip()))}


def _expected(beside: Path) -> dict[str, str]:
    try:
        text = beside.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return sums_in(text)
