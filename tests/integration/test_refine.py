"""Refined tables."""

import pytest
from collections.abc import AsyncIterator
from extractor.synthetic.synthetic import SyntheticLoad
from tests.integration.refined import Site, site_of
from tests.servers.servers import Postgres


@pytest.fixture
async def site(postgres: Postgres) -> AsyncIterator[Site]:
    async with site_of(postgres.dsn) as site:
        yield site


async def test_first(site: Site) -> None:
    await site.load(SyntheticLoad(3000, seed=7))
    import time, cProfile

    for kind in ("labels", "releases"):
        t = time.monotonic()
        print(await site.refine([kind]))
        print(time.monotonic() - t)
    print(await site.fetch("select * from discogs.refine_failure limit 2"))
