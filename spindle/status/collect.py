"""Look at everything once, all at the same time."""

import asyncio
import time
from collections.abc import Sequence

from common.kinds import Service
from spindle.settings import OperatorSettings
from spindle.status.broker import look_at_broker
from spindle.status.quantiles import Recent
from spindle.status.replicas import Replica, look_at_replicas
from spindle.status.snapshot import Picture, histograms, paint


class Watcher:
    """Looks again and again: from the second look on, latencies are those of the last minute."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._settings = settings
        self._recent = Recent()
        self._answered: dict[Service, set[str]] = {}

    async def look(self) -> Picture:
        """Make a picture; what can't be reached is in it, and raises nothing."""
        settings = self._settings
        places = {service: found for service, found in settings.places.items() if found}
        async with asyncio.TaskGroup() as group:
            broker = group.create_task(look_at_broker(settings))
            looks = [group.create_task(look_at_replicas(*each)) for each in places.items()]
        replicas = [replica for look in looks for replica in look.result()]
        for service in places:
            replicas += gone(service, replicas, self._answered.setdefault(service, set()))
        latencies = self._recent.observe(time.monotonic(), histograms(replicas))
        return paint(
            replicas,
            broker.result(),
            services=list(places),
            kinds=settings.kinds,
            names=settings.names,
            latencies=latencies,
            window=self._recent.window,
        )


def gone(service: Service, replicas: Sequence[Replica], answered: set[str]) -> list[Replica]:
    """Name the replicas that answered in an earlier look and are found nowhere now, unless others are in their place.

    `answered` is what earlier looks found; what this one found is added.
    """
    found = {each.address for each in replicas if each.service == service}
    now = {each.address for each in replicas if each.service == service and each.answers}
    missing = sorted(answered - found)[: max(0, len(answered) - len(now))]
    # One that is replaced is forgotten; one that is missed is not.
    answered.intersection_update({*found, *missing})
    answered.update(now)
    return [Replica(service, address, trouble=("answered before, and is gone",)) for address in missing]
