"""How the processes of an island share one network: every layout learns what one process does."""
