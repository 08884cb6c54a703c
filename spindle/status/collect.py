"""Look at everything once, all at the same time."""

import asyncio
import time

from spindle.settings import OperatorSettings
from spindle.status.broker import look_at_broker
from spindle.status.quantiles import Recent
from spindle.status.replicas import look_at_replicas
from spindle.status.snapshot import Picture, histograms, paint


class Watcher:
    """Looks again and again: from the second look on, latencies are those of the last minute."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._settings = settings
        self._recent = Recent()

    async def look(self) -> Picture:
        """Make a picture; what can't be reached is in it, and raises nothing."""
        settings = self._settings
        places = {service: found for service, found in settings.places.items() if found}
        async with asyncio.TaskGroup() as group:
            broker = group.create_task(look_at_broker(settings))
            looks = [group.create_task(look_at_replicas(*each)) for each in places.items()]
        replicas = [replica for look in looks for replica in look.result()]
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
