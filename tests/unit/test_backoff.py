"""The waiting times of an outage."""

import random
from itertools import islice

from common.backoff import delays


class _Highest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


class _Lowest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return a


def test_the_ceiling_doubles_from_the_first_to_the_most() -> None:
    ceilings = list(islice(delays(0.1, 2.0, _Highest()), 7))

    assert ceilings == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_the_jitter_is_full_so_that_replicas_do_not_return_in_step() -> None:
    assert list(islice(delays(rng=_Lowest()), 3)) == [0.0, 0.0, 0.0]
