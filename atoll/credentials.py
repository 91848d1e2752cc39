"""Certificates and keys as files of a folder, and as gRPC takes them.

::

    ca.crt        whom everybody trusts
    ca.key        makes certificates and join tokens; only where the orchestrator runs
    server.crt    of the orchestrator, with its key in server.key
    operator.crt  of who gives commands here, with its key in operator.key
    gateway.crt   of who calls servers of experts, with its key in gateway.key
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from atoll.authority import Key, Pair
from atoll.errors import ConfigError
from atoll.private_files import read_private, write_private

CA, SERVER, OPERATOR, GATEWAY = "ca", "server", "operator", "gateway"


def write_pair(folder: Path, name: str, pair: Pair) -> None:
    """Lay a certificate and its key down; the key first, as nothing asks for it alone."""
    write_private(folder / f"{name}.key", pair.key_pem)
    write_private(folder / f"{name}.crt", pair.certificate_pem)


def read_pair(folder: Path, name: str) -> Pair:
    """A certificate and its key.

    Raises:
        ConfigError: one of them is not there, or is not what it should be.
    """
    certificate, place = read_certificate(folder / f"{name}.crt"), folder / f"{name}.key"
    pair = Pair(certificate, private_key(read_private(place), place))
    if not pair.fits:
        raise ConfigError(f"{name}.key and {name}.crt in {folder} do not belong together")
    return pair


def read_certificate(path: Path) -> x509.Certificate:
    """A certificate. Raises: ConfigError."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; {_mend(path)}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} holds no certificate") from error


def _mend(path: Path) -> str:
    """How to come by a certificate that is not there."""
    folder = path.parent
    handed = (folder / f"{CA}.crt").exists() and not (folder / f"{CA}.key").exists()
    if path.stem == GATEWAY or (handed and path.stem in {SERVER, OPERATOR}):
        flags = {SERVER: "--server HOST", OPERATOR: "--operator NAME", GATEWAY: "--gateway NAME"}
        command = f"`atoll certs FOLDER {flags[path.stem]}`"
        return f"{command}, beside the authority's {CA}.key, makes a folder that has it"
    return f"`atoll certs {folder}` makes a folder of certificates"


def private_key(pem: bytes, path: Path) -> Key:
    """The private key in a file that was read. Raises: ConfigError."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} holds no private key without a password") from error
    if not isinstance(key, Key):
        raise ConfigError(f"{path} holds a private key of another kind; `atoll certs` makes them")
    return key


def client_credentials(pair: Pair, authority: x509.Certificate) -> grpc.ChannelCredentials:
    """To call as somebody, and to trust only servers of this authority."""
    trusted = authority.public_bytes(serialization.Encoding.PEM)
    return grpc.ssl_channel_credentials(trusted, pair.key_pem, pair.certificate_pem)


def read_vouched(folder: Path, name: str) -> tuple[Pair, x509.Certificate]:
    """A certificate with its key, and the authority in the same folder, which has made it.

    Raises:
        ConfigError: one of them is not there, or is not what it should be.
    """
    pair, authority = read_pair(folder, name), read_certificate(folder / f"{CA}.crt")
    refuse_foreign(pair, authority, folder, name)
    return pair, authority


def refuse_foreign(pair: Pair, authority: x509.Certificate, folder: Path, name: str) -> None:
    """Refuse a certificate of a folder that another authority has made. Raises: ConfigError."""
    try:
        pair.certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, TypeError, ValueError) as error:
        own = f"remove it and {name}.key, and run `atoll certs {folder}`"
        is_own = (folder / f"{CA}.key").exists()
        raise ConfigError(
            f"{name}.crt in {folder} is not of the authority in {CA}.crt; "
            f"{own if is_own else 'have both from the same `atoll certs`'}"
        ) from error


def operator_credentials(folder: Path) -> grpc.ChannelCredentials:
    """To call as the operator whose certificate is in a folder. Raises: ConfigError."""
    return client_credentials(*read_vouched(folder, OPERATOR))


def gateway_credentials(folder: Path) -> grpc.ChannelCredentials:
    """To call as the gateway whose certificate is in a folder. Raises: ConfigError."""
    return client_credentials(*read_vouched(folder, GATEWAY))


def open_credentials(pair: Pair) -> grpc.ServerCredentials:
    """To show who the server is, to callers who show no certificate."""
    return grpc.ssl_server_credentials([(pair.key_pem, pair.certificate_pem)])


def server_credentials(
    pair: Pair, authority: x509.Certificate, renewed: Callable[[], Pair | None] = lambda: None
) -> grpc.ServerCredentials:
    """To serve callers of this authority, and nobody else: none gets past the handshake.

    Args:
        pair: who the server is.
        authority: whom it trusts.
        renewed: asked before each handshake who it is from then on; None for the same as before.
    """
    trusted = authority.public_bytes(serialization.Encoding.PEM)

    def as_grpc(pair: Pair | None) -> Any:
        return pair and grpc.ssl_server_certificate_configuration(
            [(pair.key_pem, pair.certificate_pem)], trusted
        )

    return grpc.dynamic_ssl_server_credentials(
        as_grpc(pair), lambda: as_grpc(renewed()), require_client_authentication=True
    )
