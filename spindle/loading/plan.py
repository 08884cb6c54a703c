"""What a load would do: exact, because it is a check before anything is published. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table

from spindle.checking.classes import Class
from spindle.checking.diff import Result

MOST_CHANGED: Final = 0.3
"""Of what is stored. In a real month 2 to 5% change: where it is a third, the format or the normaliser has."""

TOO_FEW: Final = 100
"""Records stored of a kind, below which a share says nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """One kind in one store."""

    kind: str
    store: str
    new: int
    changed: int
    same: int
    newer: int
    dead: int
    gone: int

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing to publish."""
        return not self.new and not self.changed

    @property
    def share_changed(self) -> float:
        """Of what is stored of this load's records."""
        stored = self.changed + self.same
        return self.changed / stored if stored >= TOO_FEW else 0.0


def plan_of(results: Sequence[Result]) -> list[Part]:
    """The plan that checks are."""
    return [_part(result) for result in results]


def objections(parts: Sequence[Part]) -> Iterator[str]:
    """A sentence for each part of which so much has changed that somebody should look first."""
    for part in parts:
        if part.share_changed > MOST_CHANGED:
            yield (
                f"{part.kind} in {part.store}: {part.share_changed:.0%} of what is stored would change, and in a usual "
                "month it is 2 to 5%: the dump's format or the normaliser has changed. Look at a few, then say --full."
            )


def plan_table(parts: Sequence[Part]) -> Table:
    """A row per kind and store."""
    table = Table("kind", "store", box=None, pad_edge=False)
    for heading in ("new", "changed", "same", "newer", "dead", "gone"):
        table.add_column(heading, justify="right")
    for part in parts:
        counts = (part.new, part.changed, part.same, part.newer, part.dead, part.gone)
        table.add_row(part.kind, part.store, *(f"{count:,}" for count in counts))
    return table


def as_data(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """For a program."""
    return [
        {
            "kind": part.kind,
            "store": part.store,
            **{name: getattr(part, name) for name in ("new", "changed", "same", "newer", "dead", "gone")},
        }
        for part in parts
    ]


def _part(result: Result) -> Part:
    of = result.counts.of
    return Part(
        result.subject.kind,
        result.subject.store,
        new=of[Class.LOST],
        changed=of[Class.DIFFERENT],
        same=of[Class.SAME] + of[Class.OTHER_MODEL],
        newer=of[Class.NEWER],
        dead=of[Class.DEAD],
        gone=of[Class.GONE],
    )
