"""Experts from and for other programs; see docs/exchange.md."""
