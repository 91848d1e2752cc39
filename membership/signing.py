"""Records that anybody may have written, and count for what their signatures say alone.

The signer's certificate is of the run's authority, and is that of who the record is about.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from google.protobuf.message import DecodeError

from atoll import identity
from atoll.address import split_address
from atoll.authority import Pair, PublicKey, digest_of, hosts_in, identity_in
from atoll.wire.v1 import membership_pb2 as wire
from membership.record import MOST_BYTES, Forged, Kind, Record, decoded, encoded

_SIGNED_AS = b"atoll.wire.v1.Record\0"  # the key signs handshakes, too
_SIGNATURE = ec.ECDSA(hashes.SHA256())
_UNSIGNED = (DecodeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion, TypeError)


def key_of(authority: x509.Certificate, run: str, kind: Kind) -> str:
    """Under which key of the DHT records of a kind stand; labs that share a DHT have their own."""
    return f"atoll/{digest_of(authority.public_key())}/{run}/{kind}"


def sealed(record: Record, by: Pair) -> bytes:
    """A record as it is told to others, signed by who it is about."""
    content = encoded(record)
    return wire.SignedRecord(
        record=content,
        certificate=by.certificate.public_bytes(serialization.Encoding.DER),
        signature=by.key.sign(_SIGNED_AS + content, _SIGNATURE),
    ).SerializeToString()


def opened(data: bytes, authority: x509.Certificate) -> Record:
    """A record that was told by others, whatever the time.

    Args:
        data: what they told; anybody may have written it.
        authority: of the run.

    Raises:
        Forged: the record is not to be believed.
    """
    if len(data) > MOST_BYTES:
        raise Forged(f"{len(data)} bytes are too many")
    try:
        message = wire.SignedRecord.FromString(data)
        certificate = x509.load_der_x509_certificate(message.certificate)
        certificate.verify_directly_issued_by(authority)
        key = certificate.public_key()
        if not isinstance(key, PublicKey):
            raise Forged("its key is of another kind")
        key.verify(message.signature, _SIGNED_AS + message.record, _SIGNATURE)
    except _UNSIGNED as error:
        raise Forged("it is not signed by anybody whom the authority knows") from error
    except ValueError as error:
        raise Forged(str(error)) from error
    record = decoded(message.record)
    if not _may_say(certificate, record):
        raise Forged(f"who has signed it is not {record.kind} {record.name}")
    if record.until > certificate.not_valid_after_utc.timestamp():
        raise Forged("it outlasts the certificate of who has signed it")
    signer = identity_in(certificate)
    return replace(record, by=signer.uri) if signer else record


def _may_say(certificate: x509.Certificate, record: Record) -> bool:
    """Whether a certificate of the authority is of who the record is about."""
    who = identity_in(certificate)
    if record.kind is Kind.ISLAND:
        named = (identity.Kind.ISLAND, record.run, record.name)
        return who is not None and (who.kind, who.run, who.full_name) == named
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:  # the authority's own
        return False
    if ExtendedKeyUsageOID.SERVER_AUTH not in usages:
        return False
    if record.kind is Kind.ORCHESTRATOR:
        # Who was made to serve experts leads no run: their folders lie on machines of all kinds.
        return who is None or who == identity.server(identity.OWN)
    if who is None or who.kind is not identity.Kind.SERVER:
        return False
    return record.name == record.address and _host_of(record.address) in hosts_in(certificate)


def _host_of(address: str) -> str:
    host = split_address(address)[0].strip("[]")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host
