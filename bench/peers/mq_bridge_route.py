"""mq-bridge from the queue into the table: `python -m bench.peers.mq_bridge_route`, the addresses in the environment.

It binds a message as a whole only alone, a statement each (several rows at once are made of fields of a message); of
what was tried at a time (1, 4, 8) eight are the fastest. What its statement can't store, it drops and says so.
"""

import logging
import os
import signal
from typing import Any

from mq_bridge import Route, init_logging  # type: ignore[import-not-found]  # installed apart, see mq_bridge_program

BATCH = 500
_SIGNALS = {signal.SIGTERM, signal.SIGINT}
_INSERT = """
INSERT INTO releases (data_id, hash, data, version)
SELECT d->>'id', d->>'sha256', d, '{load}' FROM (SELECT convert_from($1, 'UTF8')::jsonb AS d) AS message
ON CONFLICT (data_id) DO UPDATE
SET hash = excluded.hash, data = excluded.data, version = excluded.version, updated_at = now()
WHERE releases.hash <> excluded.hash
"""


def main() -> None:
    """Run until SIGTERM."""
    environ = os.environ
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # before its threads begin
    logging.basicConfig(level=logging.ERROR)
    init_logging("error")
    insert = _INSERT.format(load=environ["LOAD"])
    config: dict[str, Any] = {
        "input": {
            "amqp": {"url": environ["AMQP_URL"], "queue": environ["QUEUE"], "prefetch_count": 4000},
        },
        "output": {"sqlx": {"url": environ["DSN"], "table": "releases", "insert_query": insert}},
        "batch_size": BATCH,
        "concurrency": 8,
    }
    route = Route.from_config(config)
    route.start()
    signal.sigwait(_SIGNALS)
    route.stop()
    route.join()


if __name__ == "__main__":
    main()
