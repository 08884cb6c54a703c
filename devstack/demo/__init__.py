"""One command from nothing to two stores that are proved to hold what was published."""
