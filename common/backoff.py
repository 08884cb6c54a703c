"""How long to wait before trying again: one rule for the broker and the stores."""

import random
from collections.abc import Callable, Iterator

Delays = Callable[[], Iterator[float]]
"""Gives the waiting times of one outage."""


def delays(first: float = 0.1, most: float = 2.0, rng: random.Random | None = None) -> Iterator[float]:
    """Give the waiting times of one outage, in seconds: the ceiling doubles from `first` to `most`, with full jitter.

    Full jitter (anything from 0 to the ceiling) keeps a dozen replicas that lost one server from returning in step.
    """
    uniform = rng.uniform if rng else random.uniform
    ceiling = first
    while True:
        yield uniform(0.0, ceiling)
        ceiling = min(ceiling * 2, most)
