"""The overview: what one sees first answers everything that one asks at night; what explains it is folded below."""

from collections.abc import Sequence

from monitoring.details import details
from monitoring.first_screen import first_screen
from monitoring.panels import Row


def rows() -> Sequence[Row]:
    """Its rows, each a question with the panels that answer it."""
    return (*first_screen(), *details())
