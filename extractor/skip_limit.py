"""How much of a dump may be passed over before it counts as one that could not be read."""

from common.errors import SpindleError
from extractor.tally import Tally

ALWAYS_ALLOWED = 100
"""Skipped records that fail no kind, whatever their share: a small file is not refused for a few bad lines."""


class TooManySkipped(SpindleError):
    """A kind lacks so many of its records that nobody may call it complete."""


def check_skipped(tally: Tally, *, max_percent: float) -> None:
    """Accept what a whole dump has passed over, up to a share of its records; at 0 nothing, at 100 everything.

    Raises: TooManySkipped.
    """
    skipped = tally.skipped.total()
    read = tally.records + skipped
    if not skipped or max_percent >= 100:
        return
    allowed = max(ALWAYS_ALLOWED, int(read * max_percent / 100)) if max_percent else 0
    if skipped > allowed or not tally.records:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in tally.skipped.most_common())
        raise TooManySkipped(
            f"{skipped:,} of {read:,} records could not be read ({reasons}), more than EXTRACTOR_MAX_SKIPPED_PERCENT "
            f"({max_percent:g}) allows: what could be read is published, and nobody is told that it is complete"
        )
