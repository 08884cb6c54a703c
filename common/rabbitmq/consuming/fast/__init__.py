"""The fast way of reading: deliveries straight from the socket's bytes, everything else through aiormq as elsewhere."""
