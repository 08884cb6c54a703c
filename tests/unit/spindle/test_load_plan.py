"""The plan of a load: what it counts, and when somebody should look first."""

import pytest

from spindle.loading.plan import Part, objections


def part(changed: int, same: int) -> Part:
    return Part("masters", "neo4j", new=5, changed=changed, same=same, newer=0, dead=0, gone=0)


@pytest.mark.parametrize(
    ("changed", "same", "objects"),
    [(50, 950, False), (300, 700, False), (301, 699, True), (99, 0, False), (100, 0, True), (0, 0, False)],
)
def test_a_plan_that_changes_a_third_is_for_somebody_to_look_at(changed: int, same: int, objects: bool) -> None:
    found = list(objections([part(changed, same)]))

    assert bool(found) is objects
    assert all(sentence.startswith("masters in neo4j: ") and "--full" in sentence for sentence in found)


def test_what_is_clean_has_nothing_to_publish() -> None:
    assert Part("masters", "neo4j", new=0, changed=0, same=5, newer=2, dead=1, gone=3).is_clean
    assert not part(1, 0).is_clean
