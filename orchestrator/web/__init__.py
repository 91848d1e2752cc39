"""The orchestrator's own web pages: a dashboard for people, metrics for Prometheus."""
