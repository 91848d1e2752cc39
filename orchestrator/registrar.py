"""Makes islands of those who may be: gives tokens and certificates, and a name to one key only."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from atoll import authority, identity
from atoll.authority import Pair
from atoll.clock import Clock
from atoll.errors import Forbidden, Refused, Unreachable
from atoll.join_token import JoinToken
from atoll.wire.v1 import identity_pb2 as wire
from atoll.wire.v1 import identity_pb2_grpc as rpc

LEAST_S = authority.DAY_S


class Registrar(rpc.IdentitiesServicer):
    """Speaks for the private authority, for one run.

    Which key has which name is written down in a folder: a token for one island serves one key
    only, whoever steals it afterwards, and restarts forget nothing.
    """

    def __init__(
        self, ca: Pair, run: str, folder: Path, clock: Clock, seconds: float = LEAST_S
    ) -> None:
        """Serve a run.

        Args:
            ca: the authority with its key.
            run: name of the run.
            folder: where names are written down.
            clock: whose wall clock dates certificates.
            seconds: how long an island's certificate lasts.
        """
        self._ca = ca
        self._run = run
        self._folder = folder
        self._clock = clock
        self._seconds = seconds

    def token(self, island: str, seconds: float) -> JoinToken:
        """What lets a node become an island of this name, or of any free one if "".

        Raises:
            ValueError: that is no name.
        """
        who = identity.joining(self._run, island)
        pair = authority.for_identity(self._ca, who, self._clock.wall(), seconds)
        return JoinToken(pair, self._ca.certificate)

    def Certify(self, request: wire.CertifyRequest, _: Any) -> wire.CertifyResponse:  # noqa: N802
        """A certificate; :mod:`orchestrator.access` made sure that the caller may be the island."""
        try:
            who = identity.island(self._run, request.island)
            key = authority.requested_key(request.signing_request)
        except ValueError as error:
            raise Refused(f"no certificate can be made of this request: {error}") from error
        self._claim(who.name, authority.digest_of(key))
        given = authority.vouch(self._ca, key, who, self._clock.wall(), self._seconds)
        pem = given.public_bytes(serialization.Encoding.PEM)
        return wire.CertifyResponse(certificate=pem)

    def _claim(self, name: str, key: str) -> None:
        """Write down whose a name is; of several at once the first.

        Raises:
            Forbidden: it is another key's.
            Unreachable: nothing can be written down.
        """
        # Not the name itself: some file systems take two names for one.
        place = self._folder / hashlib.sha256(name.encode()).hexdigest()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A link is made with what it holds in one step, and never over another.
            place.symlink_to(key)
        except FileExistsError:
            if str(place.readlink()) != key:
                raise Forbidden(f"{name} is another's name already") from None
        except OSError as error:
            raise Unreachable(f"names cannot be written down: {error.strerror}") from error
