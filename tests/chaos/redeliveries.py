"""How many messages the broker has given out again, as it counts them itself."""

import asyncio
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

_NAME = "rabbitmq_global_messages_redelivered_total"


class Redeliveries:
    """A counter that survives the broker's restarts, if it is told of them."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"
        self._last = 0
        self.total = 0

    async def note(self) -> int:
        """Read the broker's counter. Returns: all so far."""
        now = await asyncio.to_thread(self._read)
        self.total += now - self._last
        self._last = now
        return self.total

    def begin_anew(self) -> None:
        """The broker has been restarted and counts from nothing."""
        self._last = 0

    def _read(self) -> int:
        with urllib.request.urlopen(self._url, timeout=10.0) as answer:
            text = answer.read().decode()
        families = text_string_to_metric_families(text)
        return int(sum(each.value for family in families for each in family.samples if each.name == _NAME))
