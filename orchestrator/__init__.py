"""The control plane: leases, checkpoints, recovery."""
