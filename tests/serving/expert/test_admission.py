"""Experts over TLS answer gateways of their lab, and nobody else."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
import torch

from atoll import identity
from atoll.__main__ import main
from atoll.credentials import (
    GATEWAY,
    client_credentials,
    gateway_credentials,
    read_certificate,
    read_pair,
)
from atoll.errors import Unreachable
from atoll.expert_server_section import ExpertServerSection
from atoll.revocations import Revocations, revoke
from serving.expert.admission import Admission
from serving.expert.evaluator import Evaluator
from serving.expert.served import ServedExpert
from serving.expert.server import ExpertServer
from serving.expert.servicer import ExpertsServicer
from serving.remote.pool import Pool
from serving.remote.rows import RowsAsked
from tests.serving.conftest import CLASSES, CPU, SHAPE
from tests.serving.remote.conftest import CLOCK, until


@pytest.fixture
def lab(tmp_path):
    with contextlib.suppress(SystemExit):
        main(["certs", str(tmp_path / "lab"), "--gateway", "web", "--operator", "alice"])
    return tmp_path / "lab"


@pytest.fixture
def address(lab, networks):
    settings = ExpertServerSection(tls=str(lab), listen="127.0.0.1:0")
    admission = Admission(CLOCK, Revocations(lab).known)
    evaluator = Evaluator(8, 64, CPU, CLOCK)
    expert = ServedExpert(0, "digest", networks[0], CLASSES, (SHAPE,))
    servicer = ExpertsServicer(
        "a run", [expert], evaluator, CLOCK, lambda: False, admission.refuse_stranger
    )
    server = ExpertServer(servicer, settings, admission)
    evaluator.start()
    yield server.start()
    server.stop(0.0)
    evaluator.stop()


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


def rows():
    return RowsAsked(
        0,
        "digest",
        torch.randn(2, *SHAPE),
        torch.rand(2),
        torch.tensor([0, 1]),
        True,
        torch.float32,
    )


def refused(pool):
    until(lambda: any(each.failures > 1 for each in pool.replicas()))
    assert not pool.served
    return pool.replicas()[0].why


def test_gateway_of_the_lab_is_answered(calling, lab, networks):
    pool = calling(gateway_credentials(lab / "gateways" / "web"))
    until(lambda: pool.served)
    assert pool.begin(rows(), lambda: None).result().shape == (2, *SHAPE)


def test_who_shows_no_certificate_or_that_of_another_lab_is_refused(calling, lab, tmp_path):
    refused(calling(None))
    with contextlib.suppress(SystemExit):
        main(["certs", str(tmp_path / "other"), "--gateway", "web"])
    theirs = read_pair(tmp_path / "other" / "gateways" / "web", GATEWAY)
    refused(calling(client_credentials(theirs, read_certificate(lab / "ca.crt"))))


def test_island_is_refused_by_name(calling, lab):
    from atoll import authority

    ca = read_pair(lab, "ca")
    island = authority.for_identity(ca, identity.island("run", "island-1"), time.time(), 3600)
    why = refused(calling(client_credentials(island, ca.certificate)))
    assert "experts are asked by gateways" in why


def test_gateway_that_is_revoked_is_answered_no_more_on_the_stream_it_has(calling, lab):
    pool = calling(gateway_credentials(lab / "gateways" / "web"))
    until(lambda: pool.served)
    pool.begin(rows(), lambda: None).result()
    revoke(lab, [identity.gateway("web")], "stolen", time.time())
    with pytest.raises(Unreachable):
        pool.begin(rows(), lambda: None).result()
    assert "gateway web was revoked" in refused(pool)
