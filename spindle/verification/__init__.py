"""Compare what the stores hold with a load that is made or read again, without the broker."""
