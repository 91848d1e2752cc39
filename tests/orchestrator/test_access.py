"""Who may call what."""

from __future__ import annotations

import pytest

from atoll import identity
from atoll.errors import Forbidden
from atoll.wire.v1 import control_pb2 as wire
from atoll.wire.v1 import identity_pb2
from orchestrator.access import HEALTH, refuse_stranger

ISLANDS, OPERATORS, IDENTITIES = (
    f"atoll.wire.v1.{name}" for name in ("Islands", "Operators", "Identities")
)
MINE, THEIRS = wire.Lease(job="j", island="a", epoch=1), wire.Lease(job="j", island="b", epoch=1)
OPERATOR = identity.operator("alice")
ISLAND = identity.island("run", "a")
TOKEN = identity.joining("run", "a")
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
        (ISLAND, IDENTITIES, identity_pb2.CertifyRequest(island="a")),
        (TOKEN, IDENTITIES, identity_pb2.CertifyRequest(island="a")),
        (ANY, IDENTITIES, identity_pb2.CertifyRequest(island="b")),
        (OPERATOR, HEALTH, None),
        (identity.island("another", "a"), HEALTH, None),
        (TOKEN, HEALTH, None),
    ],
)
def test_access_to_ones_own_is_given(caller, service, request_message):
    refuse_stranger(caller, "run", service, request_message)


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
        (ISLAND, IDENTITIES, identity_pb2.CertifyRequest(island="b"), "a may not speak for b"),
        (TOKEN, IDENTITIES, identity_pb2.CertifyRequest(island="b"), "may not speak for b"),
        (ISLAND, "grpc.reflection.v1.ServerReflection", None, "may not call ServerReflection"),
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
        refuse_stranger(caller, "run", service, request_message)
