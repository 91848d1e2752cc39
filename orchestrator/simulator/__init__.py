"""A fleet under a virtual clock: the orchestrator's own decisions, and faults drawn from a seed."""
