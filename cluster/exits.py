"""The exit codes by which an agent says how it ended, beyond those of every command."""

LEASE_LOST = 4
ORPHANED = 5  # no orchestrator answered
