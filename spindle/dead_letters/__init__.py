"""`spindle dead-letters`: look, filter, replay, drop, export."""
