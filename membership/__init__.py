"""Membership: who serves a run, and works on it, says so in a DHT, and is found there.

Records are signed and expire. hivemind, and torch with it, are imported by :mod:`membership.node`
and its validator alone, in processes of their own (:mod:`membership.process`, ``atoll peer``).
"""
