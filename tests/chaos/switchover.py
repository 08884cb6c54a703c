"""A switchover of PostgreSQL in the middle of a load, and one back: what an operator does before he updates a server.

The primary is stopped cleanly, which gives the standby all that was committed; the standby is promoted, and the name
leads to it. At the end the old primary follows the new one until it has everything, and takes over in the same way.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from devstack.stack import ports
from tests.chaos.drawing import Fault
from tests.chaos.scene import Scene
from tests.chaos.world import World
from tests.integration import tables
from tests.servers.standby import Standby, promote, standby_of

_LIMIT = 60.0
_LOOK = 0.1


@asynccontextmanager
async def switchover(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    """Have another server be the primary for as long as the block lasts."""
    world = scene.world
    with ExitStack() as stack:
        standby = await asyncio.to_thread(
            stack.enter_context, standby_of(world.postgres, tablespace=world.disk.tablespace_folder)
        )
        await _follows(world.postgres.dsn)
        try:
            await world.postgres.stop()
            await asyncio.to_thread(standby.promote)
            world.postgres_name.lead_to(ports.LOOPBACK, _port(standby.dsn))
            yield
        finally:
            await asyncio.shield(_return(world, standby))


async def _return(world: World, standby: Standby) -> None:
    data = world.postgres.member.place.folder / "data"
    _follow(data, standby.dsn)
    await world.postgres.start()
    await _follows(standby.dsn)
    await asyncio.to_thread(standby.hand_over)
    await asyncio.to_thread(promote, data)
    world.postgres_name.lead_to(ports.LOOPBACK, _port(world.postgres.dsn))
    await tables.run(world.postgres.dsn, "ALTER SYSTEM RESET primary_conninfo")


def _follow(data: Path, dsn: str) -> None:
    """Have a server that is stopped begin as a standby."""
    parts = urlsplit(dsn)
    login = f"user={unquote(parts.username or '')} password={unquote(parts.password or '')}"
    with (data / "postgresql.auto.conf").open("a") as file:
        file.write(f"primary_conninfo = 'host={parts.hostname} port={parts.port} {login}'\n")
    (data / "standby.signal").touch()


async def _follows(primary: str) -> None:
    """Wait until a standby has all that its primary has."""
    asked = "SELECT FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn >= pg_current_wal_lsn()"
    async with asyncio.timeout(_LIMIT):
        while not await tables.fetch(primary, asked):
            await asyncio.sleep(_LOOK)


def _port(dsn: str) -> int:
    return urlsplit(dsn).port or 5432
