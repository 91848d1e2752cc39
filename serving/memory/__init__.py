"""Which experts are in memory, and how they come there."""
