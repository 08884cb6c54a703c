"""One message that the broker awaits an answer for, and where deliveries come from.

Nothing here knows a client library: the source reads by one, or by a reader of our own, behind the same protocol.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, Protocol

import msgspec


class Epoch:
    """The life of one channel. When it ends, its deliveries have expired: the broker gives them out again."""

    __slots__ = ("ended", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.ended = False

    def __repr__(self) -> str:
        return f"Epoch({self.number}{', ended' if self.ended else ''})"


@dataclass(frozen=True, slots=True)
class Properties:
    """A message's AMQP properties as they came, so that a dead letter can carry them on untouched."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    delivery_mode: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    """Seconds since 1970, as AMQP has it."""
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None


class Delivery(msgspec.Struct, eq=False, gc=False):
    """One message as it was delivered.

    `received` is `time.monotonic()` of the burst; `published_ms` is milliseconds since 1970 from the header
    `timestamp_in_ms`; `load` is the header of that name (`20260301`); both None if the producer sends none.
    `delivery_count` is the broker's `x-delivery-count`, 0 at first. `read_properties` decodes the rest when asked.
    """

    tag: int
    epoch: Epoch
    body: bytes
    received: float
    load: str | None
    published_ms: int | None
    delivery_count: int
    read_properties: Callable[[], Properties]
    header_bytes: int = 0
    """What the properties weigh, which are kept beside the body."""

    @property
    def weight(self) -> int:
        """Bytes that it keeps."""
        return len(self.body) + self.header_bytes

    @property
    def expired(self) -> bool:
        """Whether its channel has ended, so that settling it would mean nothing."""
        return self.epoch.ended


FIRST_YEAR, LAST_YEAR = 2000, 2099
"""Of loads: Discogs began in 2000."""


LOAD_PATTERN = (
    "20([0-9][0-9](0[13578]|1[02])(0[1-9]|[12][0-9]|3[01])|[0-9][0-9](0[469]|11)(0[1-9]|[12][0-9]|30)"
    "|[0-9][0-9]02(0[1-9]|1[0-9]|2[0-8])|([02468][048]|[13579][26])0229)"
)
"""All that `load_of` takes, for a store to compare with what an older version of ours has stored."""


def load_of(header: object) -> str | None:
    """A load's date from the header `load`: eight digits that are a day of this century, or None.

    Anything else would be compared with dates all the same: `latest` would be newer than every load to come, and so
    would `20269999`.
    """
    return header if isinstance(header, str) and len(header) == 8 and _is_date(header) else None


@lru_cache(maxsize=64)  # every message of a load bears the same
def _is_date(text: str) -> bool:
    if not (text.isascii() and text.isdigit()):
        return False
    try:
        day = date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return FIRST_YEAR <= day.year <= LAST_YEAR


class Source(Protocol):
    """Where one kind's deliveries come from. One contract suite; a fake and real sources pass it."""

    @property
    def connected(self) -> bool:
        """Whether deliveries can arrive now."""

    @property
    def unsettled(self) -> int:
        """How many deliveries of the current epoch await their answer."""

    @property
    def oldest(self) -> float | None:
        """`received` of the oldest unsettled delivery; None if there is none."""

    async def run(self) -> None:
        """Connect, consume and reconnect until closed: the task that the pipeline gives the source.

        Raises: StartRefused if the broker can't be used as it is.
        """

    async def receive(self) -> Sequence[Delivery]:
        """Everything that has arrived, at least one delivery; empty only once stopped and drained."""

    def settle(self, deliveries: Iterable[Delivery]) -> None:
        """Mark as finished; the source acknowledges. Those of an ended epoch are passed over."""

    async def until_settled(self) -> None:
        """Return once no delivery awaits its answer: each is settled, or has expired."""

    async def hand_back(self) -> None:
        """Give every unsettled delivery back by closing the channel (never by nack: that sends them to the tail)."""

    async def resume(self) -> None:
        """Consume again, as a new epoch. While handed back, receive() waits."""

    def stop(self) -> None:
        """Ask the broker for no more. Safe to call from a signal handler."""

    async def close(self) -> None:
        """Flush the last acknowledgement, then close."""
