"""What both stores' ledgers know of loads, and pausing."""
