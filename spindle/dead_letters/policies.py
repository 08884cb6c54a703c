"""What operators' policies make of the dead-letter queues, as far as the management API tells."""

import asyncio
from collections.abc import Mapping

from common.rabbitmq.policies import QueueLimits, troubles
from common.settings.environment import load as load_settings
from spindle.management import Management, NoManagement
from spindle.settings import OperatorSettings

Limits = Mapping[str, QueueLimits]


async def limits_of_letters(environ: Mapping[str, str]) -> Limits:
    """By queue; empty if there is no management API: then only the letters themselves can tell."""
    settings = load_settings(OperatorSettings, environ)
    try:
        found = await asyncio.to_thread(Management.of(settings).limits, settings.discogs_exchange_prefix)
    except NoManagement:
        return {}
    return {queue.name: queue for queue in found if queue.holds_letters}


def warnings(limits: Limits, queues: list[str]) -> list[str]:
    """A sentence for each policy that deletes letters of these queues."""
    found = troubles(limits[queue] for queue in queues if queue in limits)
    return [trouble.sentence for trouble in found if trouble.deletes]
