"""How good the ensemble is, at what cost, and the report that shows it."""
