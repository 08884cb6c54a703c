"""docker-compose.yml passes on what its programs can be told; the file alone is read, no docker is needed."""

import re
from typing import Any

import pytest
import yaml

from tests.servers.compose import OWN, PROGRAMS, ROOT, adjustable, settings_of

FILE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_setting_of_a_program_is_passed_on_or_there_is_a_reason(name: str) -> None:
    environment = FILE["services"][name]["environment"]

    assert {setting for setting, value in environment.items() if value is None} == adjustable(name)


@pytest.mark.parametrize("own", OWN)
def test_what_there_is_a_reason_for_is_a_setting(own: str) -> None:
    assert any(re.fullmatch(own, setting) for name in PROGRAMS for setting in settings_of(name))
