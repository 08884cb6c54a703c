"""Look, before a load, whether the broker will let it through: version, what exists already, permissions.

Nothing is created, and nothing is taken from a queue.
"""

from collections.abc import Sequence

from common.errors import BrokerUnavailable, StartRefused
from common.kinds import Names, Service
from common.ops.checks import Check, Findings
from common.rabbitmq.connection import Connection, connected
from common.rabbitmq.ops.permissions import Login, check_permissions
from common.rabbitmq.topology import inspect
from common.settings.programs import BrokerSettings

LEAST_VERSION = (3, 8)
"""The first with quorum queues."""

TRIED_VERSION = (3, 10)
"""The oldest that is tried with every change of ours."""

_found = Findings("RabbitMQ")


async def check_broker(
    broker: BrokerSettings, names: Names, kinds: Sequence[str], login_of: Login = Login.ALL
) -> list[Check]:
    """Look at everything that both services and the extractor, or only some of them, need for these kinds."""
    try:
        async with connected(broker, name="spindle doctor") as connection:
            login = _found.ok("login", f"{broker.address} takes the login, and opens the virtual host.")
            version = version_check(connection.broker_version)
            return [
                login,
                version,
                *await check_permissions(connection, names, kinds, login_of),
                *await _queues(connection, names, kinds),
            ]
    except BrokerUnavailable as error:
        advice = "see that it runs, and RABBITMQ_HOST and RABBITMQ_PORT, or RABBITMQ_URL"
        return [_found.failed("login", f"{str(error).rstrip('.')}: {advice}.")]
    except StartRefused as error:
        return [_found.failed("login", _sentence(error))]


def version_check(version: tuple[int, ...]) -> Check:
    """Whether this version will do. Pure."""
    number, least, tried = (".".join(map(str, each)) for each in (version, LEAST_VERSION, TRIED_VERSION))
    if version < LEAST_VERSION:
        return _found.failed("version", f"It is {number}; needed is {least} or newer, for quorum queues: upgrade it.")
    if version < TRIED_VERSION:
        return _found.warning("version", f"It is {number}; nothing older than {tried} has been tried: upgrade it.")
    return _found.ok("version", f"It is {number}.")


async def _queues(connection: Connection, names: Names, kinds: Sequence[str]) -> list[Check]:
    """Compare the queues and exchanges that exist with ours."""
    existing, unknown, differences = 0, 0, []
    for service in Service:
        for kind in kinds:
            try:
                found = await inspect(connection, names, service, kind)
            except StartRefused as error:
                return [_found.failed("queues", _sentence(error))]
            existing += len(found)
            unknown += sum(not each.is_compared for each in found)
            differences += [difference for each in found for difference in each.differences]
    if differences:
        # An exchange is shared by two services, and would be named twice.
        advice = "It will be used as it is; deleted while it is empty, the services make it again as they want it."
        return [_found.warning("queues", f"{each}. {advice}") for each in dict.fromkeys(differences)]
    if not existing:
        return [_found.ok("queues", f"None exists under {names.prefix} yet: the services will declare them.")]
    if unknown:
        why = "of what this user may not make, the broker does not say how they were made, or not even whether"
        return [_found.ok("queues", f"Not all queues and exchanges of {names.prefix} were compared: {why}.")]
    return [_found.ok("queues", f"What exists under {names.prefix} is as ours would be.")]


def _sentence(error: Exception) -> str:
    text = str(error)
    return text if text.endswith(".") else f"{text}."
