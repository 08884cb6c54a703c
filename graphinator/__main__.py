"""Run graphinator: records from RabbitMQ into Neo4j."""

from common.consumer import run_consumer
from common.kinds import Service
from common.service import read_arguments
from graphinator.settings import GraphinatorSettings
from graphinator.store import open_store


def main() -> int:
    """Run until told to stop; return the exit code."""
    read_arguments(Service.GRAPHINATOR, "Carry records from RabbitMQ into Neo4j, in batches.")
    return run_consumer(Service.GRAPHINATOR, GraphinatorSettings, open_store)


if __name__ == "__main__":
    raise SystemExit(main())
