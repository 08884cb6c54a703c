"""What would fail in a load, before it begins: `spindle doctor`."""
