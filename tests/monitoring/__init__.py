"""Dashboards, alert rules and the runbook, proved against a real Prometheus."""
