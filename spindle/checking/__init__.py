"""Compare a load's manifest with each store: what is missing, different, left over. Read-only."""
