"""The source's own list of a load's records: a file per load and kind, that stores are compared with."""
