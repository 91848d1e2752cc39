"""Membership: orchestrators and islands say where they are in a DHT, and are found there.

Records are signed and expire. hivemind, and torch with it, are imported by :mod:`membership.node`
and its validator alone, in processes of their own (:mod:`membership.process`, ``atoll peer``).
"""
