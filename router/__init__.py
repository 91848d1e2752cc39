"""The gate over experts, and the ensemble sampled through it."""
