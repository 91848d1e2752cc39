"""What orchestrators, islands and servers of experts say of themselves: small, signed, expiring.

Anybody may write to a DHT. A record counts for what its signature says alone: the signer's
certificate is of the run's authority, and is that of who the record is about.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from google.protobuf.message import DecodeError

from atoll import identity
from atoll.address import split_address
from atoll.authority import Pair, PublicKey, digest_of, identity_in
from atoll.codec import count, required
from atoll.errors import Refused
from atoll.wire.v1 import membership_pb2 as wire

_MOST_BYTES = 8192
_MOST_FACTS = 40
_SIGNED_AS = b"atoll.wire.v1.Record\0"  # the key signs handshakes, too
_SIGNATURE = ec.ECDSA(hashes.SHA256())
_UNSIGNED = (DecodeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion, TypeError)


class Kind(enum.StrEnum):
    """Who speaks; each kind has a key of its own in the DHT."""

    ORCHESTRATOR = "orchestrator"
    ISLAND = "island"
    EXPERTS = "experts"  # a server of some


class Forged(ValueError):
    """A record that its signature does not bear out, or that nobody well-meaning would make."""


@dataclass(frozen=True, slots=True)
class Record:
    """What somebody says of themselves.

    Attributes:
        kind: who speaks.
        run: name of the run.
        name: tells who speaks from others of the kind and run.
        address: ``host:port`` at which it is called; "" if it is not.
        number: of several orchestrators the one with the largest was the last to lead.
        until: when it ends, seconds since the Unix epoch; set as it is announced.
        left: whether who speaks is no more.
        facts: what else there is to tell, by name.
    """

    kind: Kind
    run: str
    name: str
    address: str = ""
    number: int = 0
    until: float = 0.0
    left: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)


def key_of(authority: x509.Certificate, run: str, kind: Kind) -> str:
    """Under which key of the DHT records of a kind stand; labs that share a DHT have their own."""
    return f"atoll/{digest_of(authority.public_key())}/{run}/{kind}"


def sealed(record: Record, by: Pair) -> bytes:
    """A record as it is written to the DHT, signed by who it is about."""
    content = wire.Record(
        kind=record.kind,
        run=record.run,
        name=record.name,
        address=record.address,
        number=record.number,
        until=record.until,
        left=record.left,
        facts=dict(record.facts),
    ).SerializeToString()
    return wire.SignedRecord(
        record=content,
        certificate=by.certificate.public_bytes(serialization.Encoding.DER),
        signature=by.key.sign(_SIGNED_AS + content, _SIGNATURE),
    ).SerializeToString()


def opened(data: bytes, authority: x509.Certificate) -> Record:
    """A record that was read from the DHT, whatever the time.

    Args:
        data: what stood there; anybody may have written it.
        authority: of the run.

    Raises:
        Forged: the record is not to be believed.
    """
    if len(data) > _MOST_BYTES:
        raise Forged(f"{len(data)} bytes are too many")
    try:
        message = wire.SignedRecord.FromString(data)
        certificate = x509.load_der_x509_certificate(message.certificate)
        certificate.verify_directly_issued_by(authority)
        key = certificate.public_key()
        if not isinstance(key, PublicKey):
            raise Forged("its key is of another kind")
        key.verify(message.signature, _SIGNED_AS + message.record, _SIGNATURE)
        record = _decoded(wire.Record.FromString(message.record))
    except _UNSIGNED as error:
        raise Forged("it is not signed by anybody whom the authority knows") from error
    except (ValueError, Refused) as error:
        raise Forged(str(error)) from error
    if not _may_say(certificate, record):
        raise Forged(f"who has signed it is not {record.kind} {record.name}")
    if record.until > certificate.not_valid_after_utc.timestamp():
        raise Forged("it outlasts the certificate of who has signed it")
    return record


def _may_say(certificate: x509.Certificate, record: Record) -> bool:
    """Whether a certificate of the authority is of who the record is about."""
    if record.kind is Kind.ISLAND:
        who = identity_in(certificate)
        named = (identity.Kind.ISLAND, record.run, record.name)
        return who is not None and (who.kind, who.run, who.full_name) == named
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:  # the authority's own
        return False
    return ExtendedKeyUsageOID.SERVER_AUTH in usages


def _decoded(message: wire.Record) -> Record:
    """Raises: ValueError, Refused: a field is not what a well-meaning signer says."""
    if message.address:
        split_address(required(message.address, "address", 300))
    if not math.isfinite(message.until) or len(message.facts) > _MOST_FACTS:
        raise ValueError("its fields are out of all bounds")
    return Record(
        kind=Kind(message.kind),
        run=required(message.run, "run"),
        name=required(message.name, "name"),
        address=message.address,
        number=count(message.number, "number"),
        until=message.until,
        left=message.left,
        facts={
            required(name, "fact"): required(message.facts[name], name) for name in message.facts
        },
    )
