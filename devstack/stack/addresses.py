"""Where the stack's servers are, as the settings of our services name it."""

from devstack.stack import neo4j, postgres, rabbitmq
from devstack.stack.ports import LOOPBACK
from devstack.stack.recipe import Place


def environment(*, broker: Place, tables: Place, graph: Place) -> dict[str, str]:
    """Return the variables that lead a service to its servers, passwords included."""
    return {
        **_server("RABBITMQ", broker, "amqp", rabbitmq.USER),
        "RABBITMQ_VHOST": "/",
        "RABBITMQ_MANAGEMENT_URL": rabbitmq.management_url(broker),
        **_server("POSTGRES", tables, "sql", postgres.USER),
        "POSTGRES_DATABASE": postgres.DATABASE,
        **_server("NEO4J", graph, "bolt", neo4j.USER),
        "NEO4J_DATABASE": neo4j.DATABASE,
    }


def _server(prefix: str, place: Place, port: str, user: str) -> dict[str, str]:
    return {
        f"{prefix}_HOST": LOOPBACK,
        f"{prefix}_PORT": str(place.ports[port]),
        f"{prefix}_USERNAME": user,
        f"{prefix}_PASSWORD": place.password,
    }
