"""What limits a running load, and what to turn."""
