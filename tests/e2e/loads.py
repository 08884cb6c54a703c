"""The loads that the end-to-end tests publish, made once: making one takes as long as storing it."""

from functools import cache

from common.kinds import Service
from extractor.loads import Load, messages
from extractor.message import Message
from extractor.synthetic.synthetic import SyntheticLoad
from spindle.verification.expectation import Expectation

LOADS = {
    # Large enough that a service is still in the middle of it when a test has seen it begin.
    Service.TABLEINATOR: SyntheticLoad(40_000, seed=4),
    Service.GRAPHINATOR: SyntheticLoad(6_000, seed=4),
}
SMALL = SyntheticLoad(2_000, seed=4)
"""Where nothing has to happen in the middle of it."""


@cache
def messages_of(load: Load, kind: str) -> list[Message]:
    """A kind's messages."""
    return list(messages(load, kind))


@cache
def expectation_of(load: Load, kind: str) -> Expectation:
    """What a store must hold of a kind."""
    return Expectation(load, kind)
