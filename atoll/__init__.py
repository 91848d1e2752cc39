"""Atoll trains diffusion models on compute islands that share nothing but a control plane."""

__version__ = "0.1.0"
