import pytest

# The suites are no test modules, and their assertions should tell as much as those of one.
pytest.register_assert_rewrite("tests.contract.source", "tests.contract.sink")
