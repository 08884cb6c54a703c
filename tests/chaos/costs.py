"""What a bad record costs in transactions, where nothing else went wrong that would cost some too."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import Reason
from common.kinds import KINDS, Service
from tests.chaos.planted import Planted
from tests.chaos.scene import Scene
from tests.e2e.services import Metrics

BATCH = 500
"""Records: the default."""
LIMIT = 2 * math.log2(BATCH) + 2


@dataclass(frozen=True, slots=True)
class Cost:
    """One kind of one service: transactions beyond one per batch, for so many records that the store refused."""

    service: str
    kind: str
    bad: int
    extra: int

    @property
    def each(self) -> float:
        """Of a bad record; a lone one bears all of it."""
        return self.extra / self.bad


async def costs(scene: Scene, planted: Sequence[Planted]) -> list[Cost]:
    """Count for every service that has lived through the whole run."""
    found = []
    for service, supervised in scene.services.items():
        metrics = await supervised.metrics()
        if metrics is not None and supervised.lives == 1:
            found += [cost for kind in KINDS if (cost := _cost(metrics, service, kind, planted))]
    return found


def _cost(metrics: Metrics, service: Service, kind: str, planted: Sequence[Planted]) -> Cost | None:
    bad = sum(each.kind == kind and each.reasons.get(service) is Reason.REFUSED for each in planted)
    # One whose acknowledgement was lost with its connection comes again, and is found again.
    bad = max(bad, int(metrics.sum("spindle_dead_letters_total", kind=kind, reason=Reason.REFUSED))) if bad else 0
    results = {
        result: int(metrics.sum("spindle_transactions_total", kind=kind, result=result))
        for result in ("stored", "refused", "too_large", "conflict", "unavailable")
    }
    disturbed = (
        results["conflict"] + results["unavailable"] + metrics.sum("spindle_expired_deliveries_total", kind=kind)
    )
    if not bad or disturbed:
        return None
    batches = int(metrics.sum("spindle_batch_size_records_count", kind=kind))
    return Cost(service, kind, bad, sum(results.values()) - batches)
