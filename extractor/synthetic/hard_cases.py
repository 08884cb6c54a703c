"""What real records hold and few expect, put into a small share of the synthetic ones.

Everything here can be stored: no NUL, no lone surrogate. What can't be stored is for tests of dead letters to make.
"""

from extractor.message import Record
from extractor.synthetic.sampling import Dice

SHARE = 0.01

TEXTS = (
    "C1 controls: \x85 \x9f \x80",
    "right to left: \u202eabc\u202c \u200f \u05d0\u05d1\u2066\u2069",
    "astral: \U0001d11e \U0001f600 \U00020bb7",
    "not NFC: Cafe\u0301 A\u030angstro\u0308m \u1112\u1161\u11ab",
    "  blanks before and after  ",
    "\tTAB and\r\nCR and\rCR alone\n",
    "DO NOT USE",
    "separators: \u2028 \u2029 \u00a0 \u3000 \ufeff \u200b",
    'quotes \\" and \\\\ and \\u0041 and {"a": [1]}',
    "null",
    "NaN",
    "0",
    "'; DROP TABLE releases; --",
    "{name} %s $1 :id \\N",
    "\x7f",
    "e" + "\u0301" * 60,
)

_TITLES = {"artists": "name", "labels": "name", "masters": "title", "releases": "title"}


def harden(record: Record, kind: str, dice: Dice) -> None:
    """Make one of a hundred records a hard case."""
    draw = dice.draw
    if draw() >= SHARE:
        return
    text = TEXTS[int(draw() * len(TEXTS))]
    form = draw()
    if form < 0.4:
        record[_TITLES[kind]] = text
    elif form < 0.6:
        record["notes" if kind in ("masters", "releases") else "profile"] = text
    elif form < 0.7:
        record.pop("name", None)
        record["data_quality"] = None
    elif kind == "releases":
        _harden_release(record, text, form)
    elif kind == "artists":
        # The alias names itself, and one is named twice.
        record["aliases"] = [{"id": record["id"], "name": text}, {"id": "1", "name": "One"}, {"id": "1", "name": "One"}]


def _harden_release(record: Record, text: str, form: float) -> None:
    first = record["artists"][0]
    if form < 0.8:
        record["artists"] = [first, dict(first), {"name": text}, {"id": "0", "name": text}]
    elif form < 0.9:
        record["extraartists"] = [first | {"role": text}, first | {"role": text}, {"name": text, "role": "Written-By"}]
    else:
        record["labels"] = [*record["labels"], {"name": text, "catno": text}, record["labels"][0] | {"catno": text}]
        record["styles"] = [*record.get("styles", []), "House", "House"]
