"""How tokens become islands, over real connections."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from atoll import authority
from atoll.control import RUN_KEY
from atoll.errors import Forbidden, Refused
from atoll.wire.v1 import identity_pb2, identity_pb2_grpc
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
