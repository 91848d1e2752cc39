"""Where a run's state is kept, and which orchestrator may write it."""
