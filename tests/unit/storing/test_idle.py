"""What an idle store is asked with."""

import pytest

from common.kinds import KINDS
from common.storing.idle import made_up
from graphinator.projection import projection_of, read
from tableinator.model import PROJECTION


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_asked_with_is_a_record_of_every_kind_in_both_stores(kind: str) -> None:
    row, record = made_up(PROJECTION), read(made_up(projection_of(kind)))

    assert row.id == record.id != ""
    assert not any(record.edges)
