"""What the bench of a partitioned table makes of its runs."""

import msgspec
import pytest

from bench.partitioning import compare, name
from tests.tooling.test_bench_figures import result


def test_parts_are_compared_with_one_piece_round_by_round() -> None:
    rates = {("new", 0): (100.0, 200.0, 400.0), ("new", 8): (110.0, 180.0, 400.0), ("changed", 8): (1.0, 1.0, 1.0)}
    results = [
        msgspec.structs.replace(result(name(task, parts), number, rate), cpu_us={"postgres": 40.0 - parts})
        for (task, parts), all_ in rates.items()
        for number, rate in enumerate(all_)
    ]

    found = compare(results, "new", 8)

    assert (found.whole, found.parts, found.ratios) == (200.0, 180.0, [1.1, 0.9, 1.0])
    assert found.cpu == [0.8] * 3


def test_a_run_that_failed_is_no_figure() -> None:
    with pytest.raises(RuntimeError, match="new_whole failed: why"):
        compare([result("new_whole", 0, 0.0, failure="why")], "new", 8)
