"""What the private authority vouches for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from atoll import authority, identity

NOW = 2.0e9
CA = authority.new_authority(NOW, 1000)


def test_authority_names_a_server_by_its_hosts() -> None:
    made = authority.for_hosts(CA, ["localhost", "192.0.2.7", "::1"], NOW, 100)
    assert authority.hosts_in(made.certificate) == ["localhost", "192.0.2.7", "::1"]
    assert authority.identity_in(made.certificate) is None
    assert usages(made.certificate) == [ExtendedKeyUsageOID.SERVER_AUTH]
    made.certificate.verify_directly_issued_by(CA.certificate)


def test_authority_names_a_client_by_its_identity() -> None:
    who = identity.island("run", "island-1")
    made = authority.for_identity(CA, who, NOW, 100)
    assert authority.identity_in(made.certificate) == who
    assert usages(made.certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    made.certificate.verify_directly_issued_by(CA.certificate)


def test_authority_is_one_by_the_rules_of_the_web() -> None:
    made = authority.for_hosts(CA, ["lab.example.org"], NOW, 100)
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store([CA.certificate]))
        .time(datetime.fromtimestamp(NOW, UTC))
        .build_server_verifier(x509.DNSName("lab.example.org"))
    )
    assert verifier.verify(made.certificate, []) == [made.certificate, CA.certificate]


def test_certificate_lasts_as_long_as_asked_whatever_the_time() -> None:
    made = authority.for_identity(CA, identity.operator("a"), NOW, 100).certificate
    assert authority.lasts_s(made) == 100
    assert authority.seconds_left(made, NOW) == 100
    assert authority.seconds_left(made, NOW + 101) == -1


def test_authorities_of_two_labs_have_names_of_their_own() -> None:
    assert authority.new_authority(NOW, 10).certificate.subject != CA.certificate.subject


def test_pair_shown_tells_no_key() -> None:
    assert "key" not in repr(CA)


def test_request_gives_the_key_that_made_it() -> None:
    key = authority.new_key()
    found = authority.requested_key(authority.request_for(key))
    assert authority.digest_of(found) == authority.digest_of(key.public_key())


def test_request_whose_signature_is_anothers_is_refused() -> None:
    mine = bytearray(authority.request_for(authority.new_key()))
    mine[-1] ^= 1
    with pytest.raises(ValueError, match=r".+"):
        authority.requested_key(bytes(mine))


@pytest.mark.parametrize("junk", [b"", b"\x30\x00", b"\x00" * 300])
def test_request_that_is_none_is_refused(junk: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        authority.requested_key(junk)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "P-256"),
        (rsa.generate_private_key(65537, 2048), "P-256"),
    ],
)
def test_request_with_another_kind_of_key_is_refused(key, words) -> None:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    der = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    with pytest.raises(ValueError, match=words):
        authority.requested_key(der)


def test_request_that_is_long_is_refused_unread() -> None:
    with pytest.raises(ValueError, match="5000 bytes are too many"):
        authority.requested_key(b"\x30" * 5000)


def usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
