"""What a record's signature bears out. A DHT is needed for none of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from atoll import authority, identity
from atoll.authority import Pair
from atoll.wire.v1 import membership_pb2 as wire
from membership.record import Forged, Kind, Record
from membership.signing import key_of, opened, sealed

pytestmark = pytest.mark.filterwarnings(  # of what no authority signs
    "ignore::cryptography.utils.CryptographyDeprecationWarning"
)
NOW = 2.0e9
CA = authority.new_authority(NOW, 1000)
SERVER = authority.for_hosts(CA, ["192.0.2.7"], NOW, 1000)
ISLAND = authority.for_identity(CA, identity.island("run", "far-1"), NOW, 1000)

SIGNATURE = ec.ECDSA(hashes.SHA256())
LEADER = Record(Kind.ORCHESTRATOR, "run", "process 7 on a", "192.0.2.7:7000", 3, NOW + 60)
LIVES = Record(Kind.ISLAND, "run", "far-1", until=NOW + 60, facts={"job": "expert-0"})
NODE = authority.for_identity(CA, identity.island("run", "far-1", "n1"), NOW, 1000)


def signed(content: bytes) -> bytes:
    """Any content, signed by the orchestrator as records are."""
    return wire.SignedRecord(
        record=content,
        certificate=SERVER.certificate.public_bytes(serialization.Encoding.DER),
        signature=SERVER.key.sign(b"atoll.wire.v1.Record\0" + content, SIGNATURE),
    ).SerializeToString()


EXPERTS = Record(Kind.EXPERTS, "model", "192.0.2.7:8210", "192.0.2.7:8210", until=NOW + 60)
EXPERT_SERVER, ELSEWHERE = (
    authority.for_hosts(CA, [host], NOW, 1000, identity.server(host))
    for host in ("192.0.2.7", "192.0.2.8")
)
V6 = replace(EXPERTS, name="[2001:db8::7]:8210", address="[2001:db8::7]:8210")
AT_V6 = authority.for_hosts(CA, ["2001:db8::7"], NOW, 1000, identity.server("2001:db8::7"))
OWN = authority.for_hosts(CA, ["192.0.2.7"], NOW, 1000, identity.server(identity.OWN))


@pytest.mark.parametrize(
    ("record", "by"),
    [
        (EXPERTS, EXPERT_SERVER),
        (V6, AT_V6),
        (LEADER, OWN),
        (EXPERTS, OWN),
        (LEADER, SERVER),
        (LIVES, ISLAND),
        (replace(LIVES, name="far-1/n1"), NODE),
    ],
    ids=["experts", "experts at v6", "own leader", "own experts", "leader", "island", "node"],
)
def test_record_signed_by_who_it_is_about_is_read_as_it_was_said(record: Record, by: Pair) -> None:
    assert opened(sealed(record, by), CA.certificate) == record
    left = replace(record, left=True)
    assert opened(sealed(left, by), CA.certificate) == left


ANOTHER_LAB = authority.new_authority(NOW, 1000)
STRANGER = authority.for_hosts(ANOTHER_LAB, ["192.0.2.7"], NOW, 1000)
FORGERIES = {
    "a server of another lab": (LEADER, STRANGER),
    "an authority of its own": (LEADER, ANOTHER_LAB),
    "the authority itself": (LEADER, CA),
    "an island as orchestrator": (LEADER, ISLAND),
    "an operator as orchestrator": (
        LEADER,
        authority.for_identity(CA, identity.operator("eve"), NOW, 1000),
    ),
    "a server of experts as orchestrator": (
        LEADER,
        authority.for_hosts(CA, ["192.0.2.7"], NOW, 1000, identity.server("192.0.2.7")),
    ),
    "a server of experts at another host": (EXPERTS, ELSEWHERE),
    "a server of experts by another name": (replace(EXPERTS, name="192.0.2.7:9"), EXPERT_SERVER),
    "a server of experts without a name": (EXPERTS, SERVER),
    "a server of experts at no address": (replace(EXPERTS, name="x", address=""), EXPERT_SERVER),
    "a gateway as a server of experts": (
        EXPERTS,
        authority.for_identity(CA, identity.gateway("web"), NOW, 1000),
    ),
    "a server as island": (LIVES, SERVER),
    "an island as another": (replace(LIVES, name="far-2"), ISLAND),
    "a node as the whole island": (LIVES, NODE),
    "an island as one of another run": (replace(LIVES, run="other"), ISLAND),
    "a token as the island it may become": (
        LIVES,
        authority.for_identity(CA, identity.joining("run", "far-1"), NOW, 1000),
    ),
    "a certificate whose key is another's": (LEADER, Pair(SERVER.certificate, STRANGER.key)),
    "what outlasts its certificate": (replace(LEADER, until=NOW + 1001), SERVER),
    "what never ends": (replace(LEADER, until=float("inf")), SERVER),
    "what ends at no time": (replace(LEADER, until=float("nan")), SERVER),
    "no address": (replace(LEADER, address="here"), SERVER),
    "an address of two lines": (replace(LEADER, address="192.0.2.7\n:1"), SERVER),
    "no name": (replace(LEADER, name=""), SERVER),
    "a number that no database holds": (replace(LEADER, number=2**60), SERVER),
    "too many facts": (replace(LEADER, facts={str(n): "x" for n in range(129)}), SERVER),
    "too long a fact": (replace(LEADER, facts={"job": "x" * 201}), SERVER),
    "a fact that moves a terminal's cursor": (replace(LEADER, facts={"job": "\x1b[2J"}), SERVER),
    "more bytes than any record has": (replace(LEADER, run="x" * 9000), SERVER),
}


@pytest.mark.parametrize(("record", "by"), FORGERIES.values(), ids=FORGERIES)
def test_record_that_its_signature_does_not_bear_out_is_forged(record: Record, by: Pair) -> None:
    with pytest.raises(Forged):
        opened(sealed(record, by), CA.certificate)


def test_record_tells_who_has_signed_it_and_does_not_say_so_itself() -> None:
    told = opened(sealed(replace(EXPERTS, by="somebody else"), EXPERT_SERVER), CA.certificate)
    assert told.by == identity.server("192.0.2.7").uri
    assert opened(sealed(LEADER, SERVER), CA.certificate).by == ""


def test_record_of_an_unknown_kind_is_forged() -> None:
    content = wire.Record(kind="expert", run="run", name="x", until=NOW + 60).SerializeToString()
    with pytest.raises(Forged, match="'expert' is not a valid Kind"):
        opened(signed(content), CA.certificate)


def test_record_signed_for_anything_else_by_the_same_key_is_forged() -> None:
    message = wire.SignedRecord.FromString(sealed(LEADER, SERVER))
    message.signature = SERVER.key.sign(message.record, SIGNATURE)
    with pytest.raises(Forged):
        opened(message.SerializeToString(), CA.certificate)


GENUINE = sealed(LEADER, SERVER)


def test_record_with_a_certificate_of_a_version_to_come_is_forged() -> None:
    third, fourth = (bytes([0xA0, 3, 2, 1, number]) for number in (2, 3))  # DER
    assert third in GENUINE
    with pytest.raises(Forged):
        opened(GENUINE.replace(third, fourth), CA.certificate)


@given(st.integers(0, len(GENUINE) - 1), st.integers(1, 255))
def test_record_with_any_byte_changed_says_the_same_or_is_forged(place: int, change: int) -> None:
    data = bytearray(GENUINE)
    data[place] ^= change
    with suppress(Forged):
        assert opened(bytes(data), CA.certificate) == LEADER


@given(st.binary(max_size=300))
def test_record_made_of_any_bytes_is_forged_and_breaks_nothing(data: bytes) -> None:
    with pytest.raises(Forged):
        opened(data, CA.certificate)


@given(st.binary(max_size=300))
def test_record_of_any_bytes_under_a_genuine_signature_breaks_nothing(content: bytes) -> None:
    with suppress(Forged):
        opened(signed(content), CA.certificate)


def test_key_tells_labs_runs_and_kinds_apart() -> None:
    keys = [
        key_of(ca.certificate, run, kind)
        for ca in (CA, ANOTHER_LAB)
        for run in ("run", "other")
        for kind in Kind
    ]
    assert len(set(keys)) == len(keys) == 4 * len(Kind)
