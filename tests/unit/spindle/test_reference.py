"""docs/configuration.md says what the settings models and .env.example say."""

from pathlib import Path

import pytest

from common.settings.environment import variables
from spindle.reference import PROGRAMS, entries, page

ROOT = Path(__file__).parents[3]
EXAMPLE = (ROOT / ".env.example").read_text()


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == page(EXAMPLE)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_page_has_every_variable_of_every_program(program: str) -> None:
    written = page(EXAMPLE)

    for name, field in variables(PROGRAMS[program]):
        assert f"| `{name}` |" in written
        assert field.description, name


def test_a_comment_is_what_the_next_variable_is_for() -> None:
    found = list(entries("# ---- One ----\n# For this.\n#A=1\n#B=\n# ---- Two ----\n# And\n# that.\n#C=x\n"))

    assert [(each.section, each.name, each.default, each.purpose) for each in found] == [
        ("One", "A", "1", "For this."),
        ("One", "B", "", ""),
        ("Two", "C", "x", "And that."),
    ]
