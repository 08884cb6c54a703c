"""Look at everything, all servers at the same time."""

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from common.errors import SettingsError
from common.ops.checks import Check, Findings
from common.rabbitmq.ops.doctor import check_broker
from common.rabbitmq.ops.permissions import Login
from common.settings.environment import Settings, load
from extractor.loads import Load
from extractor.settings import ExtractorSettings
from graphinator.ops.doctor import check_graph
from graphinator.settings import GraphinatorSettings
from spindle.doctor.configuration import settings_checks
from spindle.doctor.disks import broker_disk, broker_memory, common_disk, store_disk
from spindle.doctor.needs import Need, need_of
from spindle.doctor.policies import policy_checks, untold
from spindle.management import Management, NoManagement
from spindle.settings import OperatorSettings
from tableinator.ops.doctor import check_tables
from tableinator.settings import TableinatorSettings

S = TypeVar("S", bound=Settings)


async def check_everything(
    environ: Mapping[str, str], load_: Load | None, home: Path | None, login_of: Login = Login.ALL
) -> list[Check]:
    """Every check; `load_`: what is to be loaded, `home`: the native stack's folder, both where known.

    Raises: SettingsError if not even the broker is named in a way that can be used.
    """
    operator = load(OperatorSettings, environ)
    extractor = _loaded(ExtractorSettings, environ)
    need = None
    if load_ and extractor:
        need = need_of(load_, max_backlog=extractor.extractor_max_backlog, services=extractor.extractor_require)
    looks: list[Awaitable[Sequence[Check]]] = [
        check_broker(operator.broker, operator.names, operator.kinds, login_of),
        asyncio.to_thread(_by_management, operator, need, extractor.extractor_max_backlog if extractor else None),
    ]
    if login_of is not Login.EXTRACTOR:  # which has nothing to do with the stores
        looks += [_tables(environ), _graph(environ)]
    found = [*settings_checks(environ)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_awaited(look)) for look in looks]
    return [
        *found,
        *(check for task in tasks for check in task.result()),
        *_stores_disks(need, home or operator.doctor_disk),
    ]


async def _awaited(look: Awaitable[Sequence[Check]]) -> Sequence[Check]:
    return await look


async def _tables(environ: Mapping[str, str]) -> Sequence[Check]:
    settings = _loaded(TableinatorSettings, environ)
    if settings is None:  # what is wrong with them is among the checks already
        return ()
    connections = len(settings.kinds) * settings.postgres.writers
    return await check_tables(settings.postgres, settings.kinds, connections=connections)


async def _graph(environ: Mapping[str, str]) -> Sequence[Check]:
    settings = _loaded(GraphinatorSettings, environ)
    return () if settings is None else await check_graph(settings.neo4j, settings.kinds)


def _by_management(settings: OperatorSettings, need: Need | None, max_backlog: int | None) -> Sequence[Check]:
    """What AMQP does not tell."""
    management, found = Management.of(settings), Findings("RabbitMQ")
    try:
        asked = time.time()
        said = management.ask("whoami")
        answered = time.time()
    except NoManagement as error:
        return [untold("disk", error, "Nor are alarms, policies and clock: ")]
    clock = [] if said.time is None else [found.clock(said.time, asked=asked, answered=answered, exact=1.0)]
    policies = policy_checks(management, settings)
    try:
        nodes = management.nodes()
    except NoManagement as error:
        return [*clock, *policies, untold("disk", error, "The user needs the tag monitoring: ")]
    memory = [] if max_backlog is None else [broker_memory(nodes, max_backlog)]
    return [*clock, *policies, broker_disk(nodes, need), *memory]


def _stores_disks(need: Need | None, shared: Path | str) -> Sequence[Check]:
    if shared:
        return [common_disk(Path(shared), need)]
    return [
        store_disk("PostgreSQL", need.postgresql if need else None),
        store_disk("Neo4j", need.neo4j if need else None),
    ]


def _loaded(settings: type[S], environ: Mapping[str, str]) -> S | None:
    try:
        return load(settings, environ)
    except SettingsError:
        return None
