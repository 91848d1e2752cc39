"""Who may call what."""

from __future__ import annotations

import pytest

from atoll import identity
from atoll.errors import Forbidden
from atoll.revocations import Revocation
from atoll.wire.v1 import control_pb2 as wire
from atoll.wire.v1 import identity_pb2, membership_pb2
from orchestrator.rpc.access import HEALTH, refuse_stranger

ISLANDS, OPERATORS, IDENTITIES, REGISTRY = (
    f"atoll.wire.v1.{name}" for name in ("Islands", "Operators", "Identities", "Registry")
)
REFLECTION = "grpc.reflection.v1alpha.ServerReflection"
MINE, THEIRS = wire.Lease(job="j", island="a", epoch=1), wire.Lease(job="j", island="b", epoch=1)
OPERATOR = identity.operator("alice")
ISLAND = identity.island("run", "a")
TOKEN = identity.joining("run", "a")
GATEWAY, SERVER = identity.gateway("web"), identity.server("192.0.2.7")
ANY = identity.joining("run")


@pytest.mark.parametrize(
    ("caller", "service", "request_message"),
    [
        (OPERATOR, OPERATORS, wire.GetFleetRequest()),
        (OPERATOR, OPERATORS, wire.DrainRequest()),
        (ISLAND, ISLANDS, wire.AcquireRequest(island="a")),
        (ISLAND, ISLANDS, wire.HeartbeatRequest(lease=MINE)),
        (ISLAND, ISLANDS, wire.CommitRequest(lease=MINE)),
        (ISLAND, ISLANDS, wire.ReleaseRequest(lease=MINE)),
        (ISLAND, ISLANDS, wire.SendLogRequest(island="a")),
        (OPERATOR, OPERATORS, wire.WatchLogRequest(name="b")),
        (ISLAND, IDENTITIES, identity_pb2.CertifyRequest(island="a")),
        (TOKEN, IDENTITIES, identity_pb2.CertifyRequest(island="a")),
        (ANY, IDENTITIES, identity_pb2.CertifyRequest(island="b")),
        (GATEWAY, REGISTRY, membership_pb2.FindRequest()),
        (SERVER, REGISTRY, membership_pb2.AnnounceRequest()),
        (OPERATOR, REGISTRY, membership_pb2.FindRequest()),
        (OPERATOR, REFLECTION, None),
        (OPERATOR, HEALTH, None),
        (identity.island("another", "a"), HEALTH, None),
        (TOKEN, HEALTH, None),
    ],
)
def test_access_to_ones_own_is_given(caller, service, request_message):
    refuse_stranger(caller, "run", service, request_message, {})


@pytest.mark.parametrize(
    ("caller", "service", "request_message", "why"),
    [
        (ISLAND, OPERATORS, wire.GetFleetRequest(), "a may not call Operators"),
        (TOKEN, OPERATORS, wire.GetFleetRequest(), "the join token of a may not call Operators"),
        (OPERATOR, ISLANDS, wire.AcquireRequest(island="a"), "alice may not call Islands"),
        (TOKEN, ISLANDS, wire.AcquireRequest(island="a"), "may not call Islands"),
        (OPERATOR, IDENTITIES, identity_pb2.CertifyRequest(island="a"), "may not call Identities"),
        (ISLAND, ISLANDS, wire.AcquireRequest(island="b"), "a may not speak for b"),
        (ISLAND, ISLANDS, wire.AcquireRequest(), "a may not speak for nobody"),
        (ISLAND, ISLANDS, wire.HeartbeatRequest(lease=THEIRS), "a may not speak for b"),
        (ISLAND, ISLANDS, wire.CommitRequest(lease=THEIRS), "a may not speak for b"),
        (ISLAND, ISLANDS, wire.ReleaseRequest(lease=THEIRS), "a may not speak for b"),
        (ISLAND, ISLANDS, wire.ReleaseRequest(), "a may not speak for nobody"),
        (ISLAND, ISLANDS, wire.SendLogRequest(island="b"), "a may not speak for b"),
        (ISLAND, OPERATORS, wire.WatchLogRequest(name="a"), "a may not call Operators"),
        (ISLAND, IDENTITIES, identity_pb2.CertifyRequest(island="b"), "a may not speak for b"),
        (TOKEN, IDENTITIES, identity_pb2.CertifyRequest(island="b"), "may not speak for b"),
        (ISLAND, REGISTRY, membership_pb2.FindRequest(), "a may not call Registry"),
        (TOKEN, REGISTRY, membership_pb2.FindRequest(), "may not call Registry"),
        (SERVER, OPERATORS, wire.GetFleetRequest(), r"server 192\.0\.2\.7 may not call Operators"),
        (SERVER, ISLANDS, wire.AcquireRequest(island="a"), "may not call Islands"),
        (SERVER, IDENTITIES, identity_pb2.CertifyRequest(island="a"), "may not call Identities"),
        (GATEWAY, OPERATORS, wire.GetFleetRequest(), "gateway web may not call Operators"),
        (GATEWAY, ISLANDS, wire.AcquireRequest(island="a"), "may not call Islands"),
        (ISLAND, REFLECTION, None, "may not call ServerReflection"),
        (TOKEN, REFLECTION, None, "may not call ServerReflection"),
        (OPERATOR, "grpc.reflection.v1.ServerReflection", None, "may not call ServerReflection"),
        (
            identity.island("another", "a"),
            ISLANDS,
            wire.AcquireRequest(island="a"),
            "a is of another run",
        ),
        (
            identity.joining("another"),
            IDENTITIES,
            identity_pb2.CertifyRequest(island="a"),
            "a join token is of another run",
        ),
    ],
)
def test_access_to_anothers_is_refused(caller, service, request_message, why):
    with pytest.raises(Forbidden, match=why):
        refuse_stranger(caller, "run", service, request_message, {})


@pytest.mark.parametrize(
    ("caller", "service", "request_message"),
    [
        (OPERATOR, OPERATORS, wire.GetFleetRequest()),
        (OPERATOR, REFLECTION, None),
        (OPERATOR, HEALTH, None),
        (ISLAND, ISLANDS, wire.AcquireRequest(island="a")),
        (ISLAND, IDENTITIES, identity_pb2.CertifyRequest(island="a")),
        (ISLAND, HEALTH, None),
        (GATEWAY, REGISTRY, membership_pb2.FindRequest()),
        (SERVER, REGISTRY, membership_pb2.AnnounceRequest()),
        (TOKEN, IDENTITIES, identity_pb2.CertifyRequest(island="a")),
        (ANY, IDENTITIES, identity_pb2.CertifyRequest(island="a")),
    ],
)
def test_access_of_who_was_revoked_is_refused(caller, service, request_message):
    revoked = {
        who.uri: Revocation(who, 0.0, "stolen") for who in (OPERATOR, ISLAND, GATEWAY, SERVER)
    }
    with pytest.raises(Forbidden, match=f"{caller} was revoked"):
        refuse_stranger(caller, "run", service, request_message, revoked)


@pytest.mark.parametrize(
    ("caller", "service", "request_message"),
    [
        (identity.operator("a"), OPERATORS, wire.GetFleetRequest()),
        (identity.island("run", "b"), ISLANDS, wire.AcquireRequest(island="b")),
        (ANY, IDENTITIES, identity_pb2.CertifyRequest(island="b")),
    ],
)
def test_access_of_others_than_who_was_revoked_is_given(caller, service, request_message):
    others = (OPERATOR, ISLAND, identity.island("another", "b"))
    revoked = {who.uri: Revocation(who, 0.0, "stolen") for who in others}
    refuse_stranger(caller, "run", service, request_message, revoked)
