"""What operators have set for queues, ours too: it overrides what we declare, and AMQP does not tell."""

from common.ops.checks import Check, Findings
from common.rabbitmq.policies import troubles
from spindle.management import Management, NoManagement
from spindle.settings import OperatorSettings
from spindle.status.broker import our_queues


def untold(name: str, error: NoManagement, lead: str = "") -> Check:
    """What the management API does not tell: an operator's choice, or not known although it should be."""
    found = Findings("RabbitMQ")
    if error.is_meant:
        return found.unknown(name, f"{lead}{error}.")
    return found.unasked(name, f"{lead}{error}: see that it runs; if there is none, RABBITMQ_MANAGEMENT_URL=none.")


def policy_checks(management: Management, settings: OperatorSettings) -> list[Check]:
    """A check per promise that is broken; blocks."""
    found, ours = Findings("RabbitMQ"), our_queues(settings.names, settings.kinds)
    try:
        there = {queue.name: queue for queue in management.limits(settings.discogs_exchange_prefix)}
        lacking = [name for name in ours if name not in there]
        to_be = management.limits_to_be(lacking) if lacking else []
    except NoManagement as error:
        return [untold("policies", error)]
    queues = [there[name] for name in ours if name in there] + to_be
    broken = [
        (found.failed if trouble.deletes else found.warning)("policies", trouble.sentence)
        for trouble in troubles(queues)
    ]
    not_yet = f", {len(to_be)} of which are not there yet" if to_be else ""
    return broken or [found.ok("policies", f"None breaks a promise, on {len(queues)} queues{not_yet}.")]
