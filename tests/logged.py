"""Wait for what is logged."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from structlog.typing import Processor


def setting(event: asyncio.Event) -> Processor:
    """A processor that sets an event as soon as anything is logged."""

    def process(_logger: object, _name: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.set()
        return line

    return process
