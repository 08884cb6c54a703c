"""The fixtures of the end-to-end tests."""

from tests.e2e.fixtures import (  # noqa: F401  (pytest finds them by the names that they give themselves)
    each_mortal_side,
    each_side,
    empty_graph,
    empty_tables,
    fresh_broker,
    services_of_a_test,
)
from tests.e2e.scene import scene_with_both_services  # noqa: F401
