"""One kind's deliveries from RabbitMQ, straight from the socket.

Everything about an epoch's begin, end and return is the aio-pika source's; what differs is the way of a delivery in it.
"""

from common.rabbitmq.consuming.fast.connection import FastConnection
from common.rabbitmq.consuming.fast.subscription import FastSubscription
from common.rabbitmq.consuming.source import RabbitSource


class FastSource(RabbitSource):
    """A `Source`, made and used like the other one."""

    _make_connection = FastConnection
    _make_subscription = FastSubscription
