"""What the extractor reads from its environment."""

from typing import Annotated

from pydantic import BeforeValidator

from common.kinds import Service
from common.settings.fields import percent, seconds, selection, split, whole
from common.settings.programs import StateSettings
from extractor.fetching.settings import FetchSettings


def _required(value: object) -> object:
    # An empty variable is an unset one, so that nothing needs a word.
    words = split(value)
    return () if words == ("none",) else words


class ExtractorSettings(StateSettings):
    """What the extractor reads."""

    fetch: FetchSettings = FetchSettings()
    extractor_require: Annotated[tuple[Service, ...], BeforeValidator(_required)] = selection(
        tuple(Service), tuple(Service), ", or none"
    )
    """The services whose queues must exist before the first record is published."""
    extractor_max_backlog: int = whole(100_000, 1, 1_000_000_000)
    """Messages in all queues of a load together: they take half of the memory at which the broker of the compose file
    blocks publishers (260 of 500 MiB)."""
    extractor_max_unconfirmed: int = whole(4_000, 1, 1_000_000)
    extractor_confirm_timeout: float = seconds(300.0, 1, 86_400)
    """Seconds without a single confirm, from a broker that does not block publishing, after which a load has failed:
    well beyond the 75 that a cluster takes to see that one of its nodes is frozen."""
    extractor_parsers: int = whole(1, 1, 64)
    """Processes that parse, for each kind of a dump; 1: the one that cuts the file and publishes."""
    extractor_max_skipped_percent: float = percent(1.0)
    """Percent of a kind's records. With more skipped the kind has failed, and is not announced (skip_limit.py)."""
