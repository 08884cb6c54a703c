"""What watches Spindle: signals, from which alert rules and dashboards are made (`python -m monitoring`)."""
