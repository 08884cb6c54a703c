"""Run tableinator: records from RabbitMQ into PostgreSQL."""

from common.consumer import run_consumer
from common.kinds import Service
from common.service import read_arguments
from tableinator.settings import TableinatorSettings
from tableinator.store import open_store


def main() -> int:
    """Run until told to stop; return the exit code."""
    read_arguments(Service.TABLEINATOR, "Carry records from RabbitMQ into PostgreSQL, in batches.")
    return run_consumer(Service.TABLEINATOR, TableinatorSettings, open_store)


if __name__ == "__main__":
    raise SystemExit(main())
