"""A peer of the DHT, and ways into it, as processes of their own."""

from __future__ import annotations

import json

import psutil
import pytest

from atoll.__main__ import main
from atoll.clock import SystemClock
from atoll.credentials import CA, SERVER, read_pair
from atoll.join_token import JoinToken
from membership.announcing import announced
from membership.dht import Dht
from membership.record import Kind, Record
from tests.dht import peer

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def atoll(capsys):
    """Runs a command; returns its exit code and what it told."""

    def call(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        output = capsys.readouterr()
        return ended.value.code, output.out, output.err

    return call


@pytest.fixture
def tls(tmp_path, atoll):
    atoll("certs", tmp_path / "tls")
    return tmp_path / "tls"


def test_peer_tells_who_lives_to_who_has_no_more_than_a_token(tls, tmp_path, atoll):
    file = tmp_path / "token"
    atoll("token", file, "-s", f"run.uri={tmp_path / 'run'}", "-s", f"orchestrator.tls={tls}")
    ca, server = read_pair(tls, CA), read_pair(tls, SERVER)
    record = Record(Kind.ORCHESTRATOR, JoinToken.read(file).identity.run, "me", "127.0.0.1:7000", 3)
    with peer(tls) as address, Dht([address], ca.certificate, SystemClock()) as dht:
        asked = ["peers", "--join", file, "--peer", address]
        with announced(dht, lambda: (record, server)):
            while not dht.find(record.run, Kind.ORCHESTRATOR).records:
                pass
            code, out, told = atoll(*asked, "--json")
            (row,) = json.loads(out)
            assert (code, told, row.pop("lasts_s") > 0) == (0, "", True)
            assert row == {
                "name": "me",
                "is": "orchestrator",
                "address": "127.0.0.1:7000",
                "works_on": None,
            }
            children = psutil.Process().children(recursive=True)
            listening = {
                each.laddr.ip
                for child in children
                for each in child.net_connections()
                if each.status == psutil.CONN_LISTEN
            }
            assert listening == {"127.0.0.1"}
        assert dht.find(record.run, Kind.ORCHESTRATOR).records == ()
    assert not [child for child in children if child.is_running()]
