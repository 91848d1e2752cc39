"""A private certificate authority: all of its cryptography is the ``cryptography`` package's.

Keys are on the curve P-256, certificates X.509 version 3. A client's is named by the URI of an
:class:`atoll.identity.Identity`, and serves for nothing else: an island's cannot be used to pose as
the orchestrator. A server's is named by its hosts, and by such a URI where it calls others itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from atoll.identity import Identity

DAY_S = 86400.0
_SKEW_S = 300.0  # clocks of a lab may differ by so much
_CURVE = ec.SECP256R1()
_MAX_REQUEST_BYTES = 4096

Key = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and the private key it vouches for, which never shows in a log."""

    certificate: x509.Certificate
    key: Key = field(repr=False)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as a file or gRPC takes it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key as a file or gRPC takes it."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def fits(self) -> bool:
        """Whether the key is the one in the certificate."""
        return digest_of(self.certificate.public_key()) == digest_of(self.key.public_key())


def new_key() -> Key:
    """A private key that nobody has had before."""
    return ec.generate_private_key(_CURVE)


def new_authority(now: float, seconds: float) -> Pair:
    """An authority, which vouches for itself.

    Args:
        now: seconds since the Unix epoch.
        seconds: how long it lasts.
    """
    key = new_key()
    # Two labs are told apart by it; clients would take one for the other and name no cause.
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"Atoll {digest_of(key.public_key())[:16]}")]
    )
    usage = x509.KeyUsage(
        **dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
    )
    built = (
        _begun(name, name, key.public_key(), now, seconds)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return Pair(built.sign(key, hashes.SHA256()), key)


def for_hosts(
    authority: Pair, hosts: Sequence[str], now: float, seconds: float, who: Identity | None = None
) -> Pair:
    """A server, named by its addresses and host names.

    Args:
        authority: that vouches for it.
        hosts: at which others call it.
        now: seconds since the Unix epoch.
        seconds: how long it lasts.
        who: it is where it calls others; None if it does not.
    """
    names: list[x509.GeneralName] = [_host(host) for host in hosts]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH]
    if who is not None:
        names.append(x509.UniformResourceIdentifier(who.uri))
        usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    key = new_key()
    begun = _begun(_NOBODY, authority.certificate.subject, key.public_key(), now, seconds)
    return Pair(_issue(authority, begun, names, usages), key)


def for_identity(authority: Pair, who: Identity, now: float, seconds: float) -> Pair:
    """A client with a key made here."""
    key = new_key()
    return Pair(vouch(authority, key.public_key(), who, now, seconds), key)


def vouch(
    authority: Pair, key: PublicKey, who: Identity, now: float, seconds: float
) -> x509.Certificate:
    """A client's certificate for a key that the client keeps to itself."""
    begun = _begun(_NOBODY, authority.certificate.subject, key, now, seconds)
    names = [x509.UniformResourceIdentifier(who.uri)]
    return _issue(authority, begun, names, [ExtendedKeyUsageOID.CLIENT_AUTH])


def request_for(key: Key) -> bytes:
    """A signing request (DER): proof that the asker has the key. Names are given, not asked for."""
    empty = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return empty.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def requested_key(request: bytes) -> PublicKey:
    """The key in a signing request, which its asker has.

    Raises:
        ValueError: it is too long, cannot be read, is not signed by its key, or of another curve.
    """
    if len(request) > _MAX_REQUEST_BYTES:
        raise ValueError(f"{len(request)} bytes are too many")
    parsed = x509.load_der_x509_csr(request)
    key = parsed.public_key()
    if not isinstance(key, PublicKey) or key.curve.name != _CURVE.name:
        raise ValueError("its key is not on the curve P-256")
    try:
        signed = parsed.is_signature_valid
    except InvalidSignature:
        signed = False
    if not signed:
        raise ValueError("its signature is not that of its key")
    return key


def digest_of(key: object) -> str:
    """sha256 (hex) of a public key: tells keys apart, and gives nothing away."""
    assert isinstance(key, PublicKey)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(
        key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return digest.finalize().hex()


def identity_in(certificate: x509.Certificate) -> Identity | None:
    """Who somebody with this certificate is to whom they call; None if nobody known here."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return Identity.parse(uris[0]) if len(uris) == 1 else None


def hosts_in(certificate: x509.Certificate) -> list[str]:
    """The host names and addresses a server's certificate is for."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


def seconds_left(certificate: x509.Certificate, now: float) -> float:
    """How long it is still good; below 0 once it has ended."""
    return certificate.not_valid_after_utc.timestamp() - now


def lasts_s(certificate: x509.Certificate) -> float:
    """How long it is good from the moment it was given, whatever the clock says now."""
    span = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return span.total_seconds() - _SKEW_S


_NOBODY = x509.Name([])
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _issue(
    authority: Pair,
    begun: x509.CertificateBuilder,
    names: Sequence[x509.GeneralName],
    usages: Sequence[x509.ObjectIdentifier],
) -> x509.Certificate:
    signs = x509.KeyUsage(**dict.fromkeys(_USAGES, False) | {"digital_signature": True})
    built = (
        begun.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(signs, critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
        # The subject is empty, so that all that counts stands here.
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
    )
    return built.sign(authority.key, hashes.SHA256())


def _begun(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, now: float, seconds: float
) -> x509.CertificateBuilder:
    begins = datetime.fromtimestamp(now, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - timedelta(seconds=_SKEW_S))
        .not_valid_after(begins + timedelta(seconds=seconds))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
