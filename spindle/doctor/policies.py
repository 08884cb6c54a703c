"""What operators have set for queues, ours too: it overrides what we declare, and AMQP does not tell."""

from common.ops.checks import Check, Findings
from common.rabbitmq.policies import troubles
from spindle.management import Management, NoManagement
from spindle.settings import OperatorSettings
from spindle.status.broker import our_queues


def policy_checks(management: Management, settings: OperatorSettings) -> list[Check]:
    """A check per promise that is broken; blocks."""
    found, ours = Findings("RabbitMQ"), set(our_queues(settings.names, settings.kinds))
    try:
        queues = [queue for queue in management.limits(settings.discogs_exchange_prefix) if queue.name in ours]
    except NoManagement as error:
        return [found.unknown("policies", f"{error}.")]
    if not queues:
        return [found.unknown("policies", "None of our queues is there yet: ask again once the services have started.")]
    broken = [
        (found.failed if trouble.deletes else found.warning)("policies", trouble.sentence)
        for trouble in troubles(queues)
    ]
    return broken or [found.ok("policies", f"None breaks a promise, on {len(queues)} queues.")]
