"""The overview: one screen that answers in the order in which one asks."""

from collections.abc import Sequence

from monitoring.overview_limits import limits, wrong
from monitoring.overview_pace import far, fast, fresh, healthy
from monitoring.panels import Row


def rows() -> Sequence[Row]:
    """Its rows, each a question with the panels that answer it."""
    return (
        ("Is it healthy?", healthy()),
        ("How fast?", fast()),
        ("How far?", far()),
        ("How fresh?", fresh()),
        ("What limits it?", limits()),
        ("What is wrong?", wrong()),
    )
