"""The newest load that the services have seen: of their stores, where they can be asked."""

from collections.abc import Mapping, Sequence

from common.errors import SpindleError
from common.kinds import Service
from common.settings.environment import load as load_settings
from spindle.dead_letters.choosing import Choice


async def newest_in_stores(environ: Mapping[str, str], choice: Choice) -> tuple[str | None, list[str]]:
    """Ask the stores of the chosen services. Returns: the newest load, and a sentence for each that can't be asked."""
    loads: list[str] = []
    silent: list[str] = []
    for service in choice.services:
        try:
            newest = await _newest(service, environ, choice.kinds)
        except SpindleError as error:
            silent.append(f"{service}'s store can't be asked for its newest load: {error}")
        else:
            loads += [newest] if newest else []
    return max(loads, default=None), silent


async def _newest(service: Service, environ: Mapping[str, str], kinds: Sequence[str]) -> str | None:
    # Imported here: a store's driver takes longer than the rest of a command that asks no store, or the other.
    if service is Service.TABLEINATOR:
        from tableinator.ops.newest_load import newest_load as newest_in_tables
        from tableinator.settings import PostgresSettings

        return await newest_in_tables(load_settings(PostgresSettings, environ), kinds)
    from graphinator.ops.newest_load import newest_load as newest_in_graph
    from graphinator.settings import Neo4jSettings

    return await newest_in_graph(load_settings(Neo4jSettings, environ), kinds)
