"""How the pipelines are doing, without Grafana: `spindle status`."""
