"""The exit codes by which an agent says how it ended, beyond those of every command."""

LEASE_LOST = 4
ORPHANED = 5  # no orchestrator answered
LEFT = 6  # it was told to leave, and its island of several nodes may go on without it
