"""Where one record is, and why."""
