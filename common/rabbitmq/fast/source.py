"""One kind's deliveries from RabbitMQ, straight from the socket.

Everything about an epoch's begin, end and return is the aio-pika source's; what differs is the way of a delivery in it.
"""

from common.rabbitmq.fast.connection import FastConnection
from common.rabbitmq.fast.consumption import FastConsumption
from common.rabbitmq.source import AioPikaSource


class FastSource(AioPikaSource):
    """A `Source`, made and used like the other one."""

    _make_connection = FastConnection
    _make_consumption = FastConsumption
