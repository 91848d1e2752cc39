"""What an operator gives a node, so that it becomes an island."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from atoll.authority import Pair, identity_in
from atoll.credentials import private_key
from atoll.errors import ConfigError
from atoll.identity import Identity, Kind
from atoll.private_files import read_private


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A short-lived identity that may do nothing but join.

    In a file: a private key, the certificate that names the run and the island, and the
    authority's, by which the orchestrator is known.
    """

    pair: Pair
    authority: x509.Certificate

    @property
    def text(self) -> str:
        """As a file holds it. A secret."""
        authority = self.authority.public_bytes(serialization.Encoding.PEM)
        return (self.pair.key_pem + self.pair.certificate_pem + authority).decode()

    @classmethod
    def read(cls, path: Path) -> Self:
        """A token from its file.

        Raises:
            ConfigError: there is none, or others could read it.
        """
        data = read_private(path)
        key = private_key(data, path)
        try:
            own, authority = x509.load_pem_x509_certificates(data)
        except ValueError as error:
            raise ConfigError(f"{path} holds no join token; `atoll token` makes one") from error
        token = cls(Pair(own, key), authority)
        if not token.pair.fits or token.identity.kind is not Kind.JOIN:
            raise ConfigError(f"{path} holds no join token; `atoll token` makes one")
        return token

    @property
    def identity(self) -> Identity:
        """The run and island it is for. Raises: ConfigError for what is no token."""
        who = identity_in(self.pair.certificate)
        if who is None:
            raise ConfigError("this certificate names nobody; `atoll token` makes a join token")
        return who
