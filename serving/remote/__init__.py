"""Experts on other machines, as the engine's own."""
