"""Continuous batching: which images are evaluated next, and by whom."""
