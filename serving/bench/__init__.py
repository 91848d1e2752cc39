"""Measures an images endpoint under load, whoever made it."""
