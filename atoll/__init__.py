"""Atoll trains diffusion models on compute islands that share nothing but a control plane."""

from importlib.metadata import version

__version__ = version("atoll")
