"""Faults of the table in docs/reliability.md that no other test shows: real brokers, the real runtime."""
