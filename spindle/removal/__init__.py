"""Remove what a load no longer has, from both stores: planned, bounded, and to be undone."""
