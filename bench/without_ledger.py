"""`python -m bench.without_ledger SERVICE`: a service that keeps no book of loads, to say what keeping it costs."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from common.kinds import Service
from common.progress import Progress
from graphinator import __main__ as graphinator
from graphinator import sink as graph_sink
from graphinator.notes import GraphLedger
from tableinator import __main__ as tableinator
from tableinator import sink as table_sink
from tableinator.notes import TableLedger

_MAINS: Mapping[str, Callable[[], int]] = {
    Service.GRAPHINATOR: graphinator.main,
    Service.TABLEINATOR: tableinator.main,
}


async def _nothing(*_: Any) -> None: ...


def main() -> int:
    """Run until told to stop; return the exit code."""
    service = sys.argv.pop(1)
    for ledger in (GraphLedger, TableLedger):
        setattr(ledger, "note", _nothing)  # noqa: B010  (as mypy wants it)
    for sink in (graph_sink, table_sink):
        setattr(sink, "numbers_of", lambda *_: {})  # noqa: B010
    setattr(Progress, "add", lambda *_: None)  # noqa: B010
    setattr(TableLedger, "write", _nothing)  # noqa: B010
    setattr(GraphLedger, "parameters", lambda *_: [])  # noqa: B010
    return _MAINS[service]()


if __name__ == "__main__":
    raise SystemExit(main())
