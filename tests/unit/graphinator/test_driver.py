"""The driver is made as the settings say; nothing is connected."""

import pytest

from graphinator.settings import Neo4jSettings
from graphinator.store import open_driver


@pytest.mark.parametrize("scheme", Neo4jSettings.schemes)
async def test_a_driver_takes_every_scheme_that_is_allowed(scheme: str) -> None:
    async with open_driver(Neo4jSettings(uri=f"{scheme}://localhost:1")) as driver:
        assert driver.encrypted == ("+" in scheme)
