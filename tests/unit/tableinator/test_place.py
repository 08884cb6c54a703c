"""What a DSN says of servers and login, and what is never repeated of it."""

import pytest

from common.errors import SettingsError
from common.settings.environment import load
from tableinator.place import place_of
from tableinator.settings import TableinatorSettings


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:geheim?sec@host/db",
        "postgresql://u:p@host/db?sslmode=require&password:geheim",
        "postgresql://u:pa,geheim/word@h/db",
        "postgresql://geheim,b:x/db",
    ],
)
def test_no_part_of_a_dsn_that_can_not_be_read_is_repeated(dsn: str) -> None:
    try:
        settings = load(TableinatorSettings, {"POSTGRES_DSN": dsn}).postgres
    except SettingsError as error:
        assert "geheim" not in str(error)
        return

    with pytest.raises(ValueError) as refused:
        place_of(settings)

    assert "geheim" not in str(refused.value)
