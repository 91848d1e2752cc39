"""Membership: orchestrators and islands say where they are in a DHT, and are found there.

Records are signed and expire. Only :mod:`membership.node` imports hivemind, and with it torch: it
runs in processes of its own (:mod:`membership.process`, ``atoll peer``).
"""
