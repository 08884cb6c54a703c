"""A store's book of loads, as the runtime sees it: one kind's.

Data and numbers are written together; what is not written yet waits in `progress`. Nothing here is evidence that a load
is complete. What can't be written beside the data is tried again later, and holds up no record.
"""

from dataclasses import dataclass
from typing import Protocol

from common.loads import Announcement, Load, Pause
from common.progress import Progress


@dataclass(frozen=True, slots=True)
class View:
    """What the ledger says of a kind now."""

    pause: Pause | None = None
    newest: Load | None = None
    """The newest load that anything is known of."""


class Ledger(Protocol):
    """One kind's part of a store's ledger. Its sink writes the numbers of a batch with the batch."""

    progress: Progress

    @property
    def takes_turns(self) -> bool:
        """Whether its transactions take the kind's turn at the store; if not, they have a connection of their own."""

    async def note(self) -> None:
        """Write the numbers that wait, then the errors, each in a transaction of their own.

        Raises: as `Sink.write`.
        """

    async def announce(self, announcement: Announcement) -> None:
        """Write that all of a load was published. Doing it twice, or late, changes nothing.

        Raises: as `Sink.write`.
        """

    async def look(self) -> View:
        """Read whether the kind is paused, and its newest load.

        Raises: as `Sink.write`.
        """
