"""Decides all that happens to a run's jobs and islands, in pure functions of state and time."""
