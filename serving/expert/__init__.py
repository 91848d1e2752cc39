"""A server of experts, whose rows come from gateways on other machines."""
