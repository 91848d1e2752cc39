"""Experts over TLS answer gateways of their lab, and nobody else."""

from __future__ import annotations

import contextlib
import re
import threading
import time

import grpc
import pytest

from atoll import authority, identity
from atoll.credentials import (
    GATEWAY,
    client_credentials,
    gateway_credentials,
    read_certificate,
    read_pair,
)
from atoll.errors import ConfigError, Unreachable
from atoll.expert_server_section import ExpertServerSection
from atoll.revocations import revoke
from atoll.wire.v1 import experts_pb2 as wire
from atoll.wire.v1 import experts_pb2_grpc as rpc
from serving.expert.server import ExpertServer
from serving.expert.servicer import ExpertsServicer
from serving.remote.pool import Pool
from tests.serving.conftest import SHAPE
from tests.serving.remote.conftest import CLOCK, until
from tests.serving.secured import make_lab, secured, some_rows


@pytest.fixture
def lab(tmp_path):
    return make_lab(tmp_path / "lab")


@pytest.fixture
def address(lab, networks):
    with secured(lab, networks[0]) as address:
        yield address


@pytest.fixture
def calling(address):
    """A pool that calls with some credentials."""
    with contextlib.ExitStack() as stack:

        def call(credentials):
            pool = Pool(lambda: [address], credentials, 5.0, threading.Event(), CLOCK)
            pool.start()
            stack.callback(pool.close)
            return pool

        yield call


def refused(pool):
    until(lambda: any(each.failures > 1 for each in pool.replicas()))
    assert not pool.served
    return pool.replicas()[0].why


def test_gateway_of_the_lab_is_answered(calling, lab, networks):
    pool = calling(gateway_credentials(lab / "gateways" / "web"))
    until(lambda: pool.served)
    assert pool.begin(some_rows(), lambda: None).result().shape == (2, *SHAPE)


def test_who_shows_no_certificate_or_that_of_another_lab_is_refused(calling, lab, tmp_path):
    refused(calling(None))
    theirs = read_pair(make_lab(tmp_path / "other") / "gateways" / "web", GATEWAY)
    refused(calling(client_credentials(theirs, read_certificate(lab / "ca.crt"))))


def test_island_is_refused_by_name(calling, lab):
    ca = read_pair(lab, "ca")
    island = authority.for_identity(ca, identity.island("run", "island-1"), time.time(), 3600)
    why = refused(calling(client_credentials(island, ca.certificate)))
    assert "experts are asked by gateways" in why


def test_gateway_that_is_revoked_is_answered_no_more_on_the_stream_it_has(calling, lab):
    pool = calling(gateway_credentials(lab / "gateways" / "web"))
    until(lambda: pool.served)
    pool.begin(some_rows(), lambda: None).result()
    revoke(lab, [identity.gateway("web")], "stolen", time.time())
    with pytest.raises(Unreachable):
        pool.begin(some_rows(), lambda: None).result()
    assert "gateway web was revoked" in refused(pool)


def test_gateway_that_is_revoked_tells_no_conditions_on_the_stream_it_has(lab, networks):
    told = []

    class Noting(ExpertsServicer):
        def _keep(self, conditions):
            told.append(conditions)

    go_on = threading.Event()

    def asked():
        yield wire.EvaluateRequest(conditions=wire.Tensor())
        assert go_on.wait(30)
        yield wire.EvaluateRequest(conditions=wire.Tensor())

    credentials = gateway_credentials(lab / "gateways" / "web")
    with (
        secured(lab, networks[0], Noting) as address,
        grpc.secure_channel(address, credentials) as channel,
    ):
        stream = rpc.ExpertsStub(channel).Evaluate(asked(), timeout=60)
        until(lambda: len(told) == 1)
        revoke(lab, [identity.gateway("web")], "stolen", time.time())
        go_on.set()
        with pytest.raises(grpc.RpcError):
            next(stream)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("0.0.0.0:0", "is for 127.0.0.1, so nobody could call a server at 0.0.0.0:0; `atoll certs"),
        ("192.0.2.7:0", "so nobody could call a server at 192.0.2.7:0"),
        ("localhost:0", "so nobody could call a server at localhost:0"),
    ],
)
def test_server_does_not_start_by_a_certificate_by_which_nobody_could_call_it(lab, listen, words):
    make_lab(lab, "--server", "127.0.0.1")
    folder = str(lab / "servers" / "127.0.0.1")
    with pytest.raises(ConfigError, match=re.escape(words)):
        ExpertServer(None, ExpertServerSection(tls=folder, listen=listen))


def test_server_and_gateway_do_not_start_by_the_certificates_of_two_authorities(lab, tmp_path):
    other = make_lab(tmp_path / "other")
    for folder in (lab, lab / "gateways" / "web"):
        (folder / "ca.crt").write_bytes((other / "ca.crt").read_bytes())
    with pytest.raises(
        ConfigError, match=r"expert_server.tls: server.crt in .* is not of the auth"
    ):
        ExpertServer(None, ExpertServerSection(tls=str(lab), listen="127.0.0.1:0"))
    with pytest.raises(
        ConfigError, match=r"gateway.crt in .* is not of the authority in ca.crt; have both"
    ):
        gateway_credentials(lab / "gateways" / "web")


def test_certificate_that_is_missing_is_told_with_the_command_that_makes_it(lab, tmp_path):
    with pytest.raises(ConfigError, match="`atoll certs FOLDER --gateway NAME`, beside the auth"):
        gateway_credentials(tmp_path / "web")
    with pytest.raises(ConfigError, match="`atoll certs FOLDER --gateway NAME`, beside the auth"):
        gateway_credentials(lab)
    with pytest.raises(ConfigError, match="`atoll certs FOLDER --server HOST`, beside the auth"):
        ExpertServer(None, ExpertServerSection(tls=str(lab / "gateways" / "web")))
    with pytest.raises(ConfigError, match=r"`atoll certs .*none` makes a folder of certificates"):
        ExpertServer(None, ExpertServerSection(tls=str(tmp_path / "none")))
