"""The trace that a message belongs to, as its producer says it in the header `traceparent` (W3C Trace Context)."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from common.delivery import Delivery

HEADER = "traceparent"

# Version, trace, parent, flags. A later version may say more behind them, but does so behind another dash.
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_SAMPLED = 0x01


class TraceContext(NamedTuple):
    """The span that a message was sent in."""

    trace_id: int
    span_id: int


def sampled_context(header: object) -> TraceContext | None:
    """Read a `traceparent`; None if it is not valid by W3C's rule, or not sampled."""
    # A client that has no texts sends the same letters as bytes.
    text = header.decode("ascii", "replace") if isinstance(header, bytes | bytearray) else header
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None) or not int(flags, 16) & _SAMPLED:
        return None
    context = TraceContext(int(trace_id, 16), int(span_id, 16))
    return context if all(context) else None


def contexts_of(deliveries: Iterable[Delivery]) -> list[TraceContext]:
    """The sampled contexts of messages in their order, each once: a producer may send many within one span."""
    found = (sampled_context(delivery.read_properties().headers.get(HEADER)) for delivery in deliveries)
    return list(dict.fromkeys(context for context in found if context is not None))
