"""The next months of a synthetic load: which records change, go, come, come back or are merged, and what a change is.

Every answer depends on seed, kind, record and month alone, so that any record of any month can be made without the
months before it having been written.
"""

from random import Random

from extractor.message import Record
from extractor.synthetic.sampling import Dice, Space, artist_name
from extractor.synthetic.texts import POOLS

CHANGED, GONE, NEW = 0.05, 0.001, 0.005
"""Shares per month. Of 3,267 real masters 4.6% changed from one month to the next."""

MERGED = 0.4
"""Share of those that go: they go for good, and the record before them says so from then on. Whoever names them still
does: dangling references are normal."""

RETURNED = 0.15
"""Share per month of those that are gone and were not merged."""


def born(index: int, base: int) -> int:
    """The month in which a record first appears: 0 for the first `base` of them."""
    month = 0
    while index >= size(base, month):
        month += 1
    return month


def size(base: int, month: int) -> int:
    """How many indices there are in a month, gone records included."""
    return base + round(base * NEW * month)


def is_gone(seed: int, kind: str, index: int, month: int, *, since: int) -> bool:
    """Whether a record that appeared in month `since` is not there in this month."""
    gone = False
    for later in range(since + 1, month + 1):
        if gone:
            gone = _chance(seed, kind, index, later, "returned") >= RETURNED
        elif (chance := _chance(seed, kind, index, later, "gone")) < GONE:
            if index and chance < GONE * MERGED:
                return True
            gone = True
    return gone


def is_merged(seed: int, kind: str, index: int, month: int, *, since: int) -> bool:
    """Whether a record that appeared in month `since` is merged in exactly this month: into the one before it."""
    return (
        index > 0
        and month > since
        and _chance(seed, kind, index, month, "gone") < GONE * MERGED
        and not is_gone(seed, kind, index, month - 1, since=since)
    )


def apply_changes(
    record: Record, kind: str, space: Space, *, seed: int, index: int, since: int, next_since: int, month: int
) -> None:
    """Bring a record from the month of its appearance up to this one; in `next_since` the next index appears."""
    for later in range(since + 1, month + 1):
        if _chance(seed, kind, index, later, "changed") < CHANGED:
            _change(record, kind, space, Dice(f"{seed}:{kind}:{index}:{later}", link=0.0), later)
        if is_merged(seed, kind, index + 1, later, since=next_since):
            field = "profile" if kind in ("artists", "labels") else "notes"
            record[field] = f"{record.get(field) or ''} Merged with {index + 2} in month {later}."


def _change(record: Record, kind: str, space: Space, dice: Dice, month: int) -> None:
    """Change a record in one of the ways in which real ones change; it is never the same afterwards."""
    form = dice.draw()
    if kind in ("artists", "labels"):
        _change_name_record(record, kind, space, dice, form)
    elif form < 0.3:
        record["styles"] = _exchanged(record.get("styles", []), dice)
    elif form < 0.5 and len(record["genres"]) > 1:
        record["genres"] = record["genres"][1:]
    elif form < 0.7:
        found = space.artists.pick(dice.draw())
        record["artists"] = [
            *record["artists"][1:],
            {"id": str(found), "name": artist_name(found), "join": f"({month})"},
        ]
    elif form < 0.85 and kind == "releases":
        record["labels"] = [dict(label, catno=f"{label['catno']} / {month}") for label in record["labels"]]
    else:
        record["notes"] = f"{record.get('notes') or ''} Corrected in month {month}."


def _change_name_record(record: Record, kind: str, space: Space, dice: Dice, form: float) -> None:
    found = (space.artists if kind == "artists" else space.labels).pick(dice.draw())
    linked = {"id": str(found), "name": dice.pick(POOLS.artist_names)}
    if form < 0.3:
        record["profile"] = f"{record.get('profile') or ''} {dice.pick(POOLS.profiles)}"
    elif kind == "labels":
        record["parentLabel"] = linked | {"name": f"{linked['name']} {int(dice.draw() * 1e6)}"}
    else:
        field = "groups" if form < 0.6 else "aliases"
        record[field] = [*record.get(field, [])[1:], linked | {"name": f"{linked['name']} {int(dice.draw() * 1e6)}"}]


def _exchanged(styles: list[str], dice: Dice) -> list[str]:
    """Without the first, with one that was not there."""
    while (style := dice.pick(POOLS.styles)) in styles:
        pass
    return [*styles[1:], style]


def _chance(seed: int, kind: str, index: int, month: int, what: str) -> float:
    return Random(f"{seed}:{kind}:{index}:{month}:{what}").random()  # noqa: S311 (made-up data, no secret)
