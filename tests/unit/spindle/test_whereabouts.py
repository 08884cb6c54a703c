"""What is said of one record, from what stores, manifests and dead letters say."""

import pytest

from common.kinds import Service
from extractor.manifest.format import NO_HASH, PUBLISHED, SKIPPED, UNCHANGED, Row
from spindle.show.whereabouts import Dead, Listed, Stored, Whereabouts, explain

HASH = "ab" * 32
ROW = Row(7, bytes(8), bytes.fromhex(HASH)[:8], PUBLISHED)
LISTED = Listed("20260301", ROW)
GONE = Listed("20260301", None)
LETTER = Dead(Service.TABLEINATOR, "too_large", "20260301", "")


def sentence(stored: Stored, *listed: Listed, dead: tuple[Dead, ...] = ()) -> str:
    [said] = explain(Whereabouts("artists", "7", [stored], listed, dead))
    return said


def stored(hash_: str = HASH, load: str | None = "20260301", *, is_current: bool = True) -> Stored:
    return Stored("tables", (hash_, load), is_current)


ABSENT = Stored("tables", None)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (sentence(stored(), LISTED), "current: as the dump of 20260301 has it"),
        (sentence(stored(load="20260201"), Listed("20260301", ROW._replace(flag=UNCHANGED))), "current: as the dump"),
        (sentence(stored(is_current=False), LISTED), "by an earlier model: `spindle reprocess`"),
        (sentence(stored("00" * 32, "20260201"), LISTED), "stored from 20260201, and not as the dump of 20260301"),
        (sentence(stored("", None), LISTED), "stored from an unknown load, and not as the dump"),
        (sentence(stored("00" * 32), LISTED, dead=(LETTER,)), "its newer form is a dead letter (too_large)"),
        (sentence(stored(load="20260401"), LISTED), "stored from 20260401, which is newer"),
        (sentence(stored(), Listed("20260201", ROW), GONE), "gone from the dump of 20260301: `spindle remove`"),
        (sentence(stored(), Listed("20260301", ROW._replace(sha256=NO_HASH))), "has ids only"),
        (sentence(stored(), Listed("20260301", ROW._replace(flag=SKIPPED))), "it could not be read"),
        (sentence(stored(), LISTED, Listed("20260401", None, problem="cut")), "current: as the dump of 20260301"),
        (sentence(stored()), "stored; no manifest says what should be"),
        (sentence(ABSENT, LISTED), "it is still under way, or lost. `spindle check --repair`"),
        (sentence(ABSENT, LISTED, dead=(LETTER,)), "not stored: it is a dead letter (too_large)"),
        (sentence(ABSENT, GONE), "the dump of 20260301 does not have it"),
        (sentence(ABSENT, Listed("20260301", ROW._replace(flag=SKIPPED))), "and it could not be read"),
        (sentence(ABSENT), "not stored, and no manifest lists it"),
        (sentence(Stored("tables", None, problem="away"), LISTED), "can't tell: away"),
    ],
)
def test_what_follows_is_said(said: str, expected: str) -> None:
    assert said.startswith("tables: ")
    assert expected in said


def test_a_letter_of_the_other_service_explains_nothing() -> None:
    other = Dead(Service.GRAPHINATOR, "refused", "20260301", "")

    assert "dead letter" not in sentence(ABSENT, LISTED, dead=(other,))
