"""How tokens become islands, over real connections."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest

from atoll import authority, identity
from atoll.control import RUN_KEY
from atoll.errors import Forbidden, Refused
from atoll.join_token import JoinToken
from atoll.private_files import write_private
from atoll.wire.v1 import identity_pb2, identity_pb2_grpc
from cluster.provider import Node
from orchestrator.rpc.registrar import Registrar

OURS = ((RUN_KEY, "run"),)


def test_token_may_do_nothing_but_join(lab):
    with lab.client(lab.registrar.token("island-2", 60).pair) as holder:
        for call in (holder.fleet, lambda: holder.acquire("island-2", "r")):
            with pytest.raises(Forbidden, match="the join token of island-2 may not call"):
                call()
        with pytest.raises(Forbidden, match="may not speak for island-1"):
            holder.certify("island-1", authority.request_for(authority.new_key()), 10)


def test_token_serves_one_key_only_and_that_again(lab):
    key = authority.new_key()
    with lab.client(lab.registrar.token("island-2", 60).pair) as holder:
        for _ in range(2):
            assert holder.certify("island-2", authority.request_for(key), 10)
        with pytest.raises(Forbidden, match="island-2 is another's name already"):
            holder.certify("island-2", authority.request_for(authority.new_key()), 10)


def test_token_for_any_island_gives_no_name_twice(lab):
    with lab.client(lab.registrar.token("", 60).pair) as holder:
        holder.certify("island-8", authority.request_for(authority.new_key()), 10)
        holder.certify("island-9", authority.request_for(authority.new_key()), 10)
        with pytest.raises(Forbidden, match="island-9 is another's"):
            holder.certify("island-9", authority.request_for(authority.new_key()), 10)


def test_token_used_by_many_at_once_serves_the_first_of_them(lab):
    token = lab.registrar.token("island-2", 60)

    def join(_: int) -> bool:
        with lab.client(token.pair) as holder:
            try:
                holder.certify("island-2", authority.request_for(authority.new_key()), 30)
            except Forbidden:
                return False
            return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(join, range(16))) == 1


def test_token_of_another_run_is_refused(lab, store):
    elsewhere = Registrar(lab.ca, "another", store.claim, lab.clock)
    with (
        lab.client(elsewhere.token("", 60).pair) as holder,
        pytest.raises(Forbidden, match="a join token is of another run"),
    ):
        holder.certify("island-2", authority.request_for(authority.new_key()), 10)


@pytest.mark.parametrize("request_", [b"", b"junk", b"\x30" * 5000])
def test_signing_request_that_is_none_is_refused(lab, request_):
    with (
        lab.client(lab.registrar.token("island-2", 60).pair) as holder,
        pytest.raises(Refused, match="no certificate can be made of this request"),
    ):
        holder.certify("island-2", request_, 10)


@pytest.mark.parametrize("name", ["../../etc", "a b", "", "*", "a" * 100])
def test_token_for_any_island_makes_none_of_what_is_no_name(lab, name):
    with lab.channel_as(lab.registrar.token("", 60).pair) as channel:
        request = identity_pb2.CertifyRequest(
            island=name, signing_request=authority.request_for(authority.new_key())
        )
        with pytest.raises(grpc.RpcError) as caught:
            identity_pb2_grpc.IdentitiesStub(channel).Certify(request, timeout=10, metadata=OURS)
    assert caught.value.code() in {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.PERMISSION_DENIED,
    }


def test_log_of_refusals_and_joins_holds_no_secret(lab, caplog):
    caplog.set_level(logging.DEBUG)
    token = lab.registrar.token("island-2", 60)
    key = authority.new_key()
    with lab.client(token.pair) as holder:
        holder.certify("island-2", authority.request_for(key), 10)
        with pytest.raises(Forbidden):
            holder.fleet()
    assert "PRIVATE" not in caplog.text
    assert token.text.splitlines()[1] not in caplog.text


@pytest.fixture
def given(lab, tmp_path):
    """The token of island-3 as its provider got it, two hours ago."""
    lab.clock.ahead_s = -7200.0
    write_private(tmp_path / "token", lab.security.token_for("island-3").encode())
    lab.clock.ahead_s = 0.0
    return JoinToken.read(tmp_path / "token")


def asks(lab, token, island, node=""):
    with lab.client(token.pair) as holder:
        return holder.certify(island, authority.request_for(authority.new_key()), 10, node)


def goes_by(fleet, **policy):
    fleet._fleet = replace(fleet.fleet, policy=replace(fleet.fleet.policy, **policy))


def test_token_of_a_provider_serves_islands_that_waited_or_came_back(lab, fleet, given):
    goes_by(fleet, max_nodes=2, requeues=True)
    for island, node in (("island-3", "a"), ("island-3", "b"), ("island-3.1", "a")):
        assert asks(lab, given, island, node)


def test_token_makes_no_nodes_where_islands_have_one(lab, given):
    with pytest.raises(Forbidden, match="may not speak for nodes: the run's islands have one"):
        asks(lab, given, "island-3", "a")
    with (
        lab.client(identity.island("run", "island-3", "a")) as node,
        pytest.raises(Forbidden, match="island-3/a may not speak for nodes"),
    ):
        node.certify("island-3", authority.request_for(authority.new_key()), 10, "a")


def test_token_makes_no_later_start_where_nothing_is_started_again(lab, fleet, given):
    with pytest.raises(Forbidden, match=r"may not speak for island-3\.1: no island is started"):
        asks(lab, given, "island-3.1")
    goes_by(fleet, requeues=True)
    assert asks(lab, given, "island-3.1")


def test_token_of_an_island_that_is_over_serves_nobody(lab, fleet, given):
    goes_by(fleet, max_nodes=2, requeues=True)
    fleet.nodes_started(["island-3"])
    assert asks(lab, given, "island-3")
    fleet.reconcile([Node("island-3.1", alive=True, waiting=True)])
    assert asks(lab, given, "island-3.1")
    fleet.reconcile([Node("island-3.1", alive=False, reason="it was cancelled")])
    for island, node in (("island-3", "b"), ("island-3.1", "b"), ("island-3.2", "")):
        for token in (given, lab.registrar.token("island-3", 60)):
            with pytest.raises(Forbidden, match="island-3 is over"):
                asks(lab, token, island, node)
    with pytest.raises(Forbidden, match="island-3 is over"):
        asks(lab, lab.registrar.token("", 60), "island-3", "b")
