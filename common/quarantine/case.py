"""One record in quarantine: untried, suspected, or refused."""

from dataclasses import dataclass
from typing import Generic

from common.batching.batch import Item
from common.sink import R
from common.storing.isolation import Refused, Suspected


@dataclass(slots=True, eq=False)
class Case(Generic[R]):
    """A record that was not stored.

    It is untried if another version of its id stands before it, suspected if it failed alone for a reason that may not
    be its own, and refused if it can never be stored: then it waits for nothing but credit.
    """

    item: Item[R]
    verdict: Refused[Item[R]] | Suspected[Item[R]] | None = None
    """What the store said last; None: untried."""
    rounds: int = 0
    """Rounds that count, and in which it failed."""

    @property
    def id(self) -> str:
        """The record's id."""
        return self.item.record.id

    @property
    def is_suspected(self) -> bool:
        """Whether rounds must show if it is bad."""
        return isinstance(self.verdict, Suspected)

    @property
    def is_refused(self) -> bool:
        """Whether it can never be stored."""
        return isinstance(self.verdict, Refused)
