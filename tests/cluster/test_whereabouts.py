"""What the flags of `atoll agent` say of its orchestrator and of itself."""

from __future__ import annotations

import time

import pytest

from atoll import authority, identity
from atoll.errors import BadInput
from atoll.join_token import JoinToken
from atoll.private_files import write_private
from cluster.whereabouts import Flags, Whereabouts, whereabouts

PEER = "192.0.2.9:7100/p2p/12D3KooWJ6H9xRGmhcVTt96RB2SygpWeHsafs5VNAVyQT9UTCfHk"
CA = authority.new_authority(time.time(), 86400)


@pytest.fixture
def join(tmp_path):
    """Writes a token for an island, or for any."""

    def write(island: str = ""):
        pair = authority.for_identity(CA, identity.joining("run", island), time.time(), 100)
        write_private(tmp_path / "token", JoinToken(pair, CA.certificate).text.encode())
        return tmp_path / "token"

    return write


def given(**flags) -> Whereabouts:
    return whereabouts(Flags(**flags))


def test_whereabouts_of_who_has_a_token_and_a_peer_are_the_tokens(join):
    where = given(peers=[PEER], join=join("far-1"))
    assert (where.who, where.addresses) == (identity.island("run", "far-1"), [])
    where = given(peers=[PEER], join=join("far-1"), island="far-1.1")
    assert where.who.name == "far-1.1"  # started once more
    where = given(peers=[PEER], join=join(), island="far-2", orchestrator="a:1, b:2")
    assert (where.who.name, where.addresses) == ("far-2", ["a:1", "b:2"])


REFUSED = {
    "nobody to call": ({"run": "run", "island": "i"}, "--orchestrator: give where it listens"),
    "no run": ({"orchestrator": "127.0.0.1:1"}, "--run: give the run's name"),
    "no island": ({"orchestrator": "127.0.0.1:1", "run": "run"}, "--island: give a name"),
    "no name": ({"orchestrator": "127.0.0.1:1", "run": "run", "island": "a b"}, "'a b' is no name"),
    "no address": ({"orchestrator": "x"}, "--orchestrator: 'x' is no address"),
    "no port": ({"orchestrator": "x:0"}, "names no port"),
    "plain text beyond": ({"orchestrator": "192.0.2.9:1"}, "calls would be in plain text"),
    "a peer without a token": ({"peers": [PEER]}, "--peer: .* give its file with --join"),
}


@pytest.mark.parametrize(("flags", "why"), REFUSED.values(), ids=REFUSED)
def test_whereabouts_that_cannot_be_used_are_refused_with_the_mend(flags, why):
    with pytest.raises(BadInput, match=why):
        given(**flags)


def test_whereabouts_by_a_token_for_any_island_need_a_name_and_peers_that_are_some(join):
    with pytest.raises(BadInput, match="--island: give a name"):
        given(peers=[PEER], join=join())
    with pytest.raises(BadInput, match="--address: give one that the other nodes call, of "):
        given(peers=[PEER], join=join("far-1"), node="0")
    with pytest.raises(BadInput, match=r"--peer: '192\.0\.2\.9:1' is no peer"):
        given(peers=["192.0.2.9:1"], join=join("far-1"))
