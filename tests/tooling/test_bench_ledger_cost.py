"""What the measurement of the ledger's cost says of its rounds."""

from bench.ledger_cost import Turn, lines


def test_each_round_is_compared_with_itself() -> None:
    rounds = [
        (Turn(5.5, 50.0, 101.0), Turn(5.0, 50.0, 100.0)),
        (Turn(11.0, 49.0, 202.0), Turn(10.0, 50.0, 200.0)),  # the machine was half as fast
        (Turn(5.25, 54.0, 99.0), Turn(5.0, 50.0, 100.0)),
    ]

    assert lines(rounds) == [
        "our CPU: 5 µs a record without the ledger, +0.50 (+0.25 to +1.00) with it: 1.100 times as much",
        "PostgreSQL's CPU: 50 µs a record without the ledger, +0.00 (-1.00 to +4.00) with it: 1.000 times as much",
        "time: 100 µs a record without the ledger, +1.00 (-1.00 to +2.00) with it: 1.010 times as much",
    ]
