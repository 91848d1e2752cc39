"""Makes islands of those who may be: gives tokens and certificates, and a name to one key only."""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from atoll import authority, identity
from atoll.authority import Pair
from atoll.clock import Clock
from atoll.errors import Forbidden, Refused
from atoll.join_token import JoinToken

LEAST_S = authority.DAY_S


class Registrar:
    """Speaks for the private authority, for one run.

    Which key has which name is written down for good: a name that is taken is given to nobody else,
    whoever steals the token afterwards, and restarts forget nothing.
    """

    def __init__(
        self,
        ca: Pair,
        run: str,
        claim: Callable[[str, str], bool],
        clock: Clock,
        seconds: float = LEAST_S,
    ) -> None:
        """Serve a run.

        Args:
            ca: the authority with its key.
            run: name of the run.
            claim: see :meth:`orchestrator.storage.store.Store.claim`.
            clock: whose wall clock dates certificates.
            seconds: how long an island's certificate lasts.
        """
        self._ca = ca
        self._run = run
        self._claim = claim
        self._clock = clock
        self._seconds = seconds

    @property
    def authority(self) -> x509.Certificate:
        """Whose word counts."""
        return self._ca.certificate

    def token(self, island: str, seconds: float) -> JoinToken:
        """What lets a node become an island of this name, or of any free one if "".

        Raises:
            ValueError: that is no name.
        """
        return token_of(self._ca, self._run, island, self._clock.wall(), seconds)

    def certify(self, island: str, node: str, signing_request: bytes) -> bytes:
        """A certificate (PEM) for an island's key, or for that of a node of it.

        Args:
            island: name of the island.
            node: of it; "" where it has but one.
            signing_request: proof (DER) that the asker has the key.

        Raises:
            Refused: none can be made of this.
            Forbidden: another key has the name.
        """
        try:
            who = identity.island(self._run, island, node)
            key = authority.requested_key(signing_request)
        except ValueError as error:
            raise Refused(f"no certificate can be made of this request: {error}") from error
        if not self._claim(who.full_name, authority.digest_of(key)):
            raise Forbidden(f"{who} is another's name already")
        given = authority.vouch(self._ca, key, who, self._clock.wall(), self._seconds)
        return given.public_bytes(serialization.Encoding.PEM)


def token_of(ca: Pair, run: str, island: str, now: float, seconds: float) -> JoinToken:
    """What lets a node become an island of this name, or of any free one if "".

    Raises:
        ValueError: that is no name.
    """
    pair = authority.for_identity(ca, identity.joining(run, island), now, seconds)
    return JoinToken(pair, ca.certificate)
