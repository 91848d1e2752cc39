"""The command that shows who of a run its DHT tells of; what it shows is in tests/membership."""

from __future__ import annotations

import json

import pytest

from atoll import stages
from atoll.blobs import open_store
from atoll.clock import SystemClock
from membership import dht
from membership.record import Kind, Record
from membership.registry import Registry
from membership.servers import model_of
from tests.registry import orchestrator


@pytest.fixture
def settings(tmp_path, atoll):
    atoll("certs", tmp_path / "tls")
    return ["-s", f"run.uri={tmp_path / 'run'}", "-s", f"orchestrator.tls={tmp_path / 'tls'}"]


def test_peers_of_a_run_in_plain_text_are_refused_with_the_mend(tmp_path, atoll):
    asked = "127.0.0.1:7100/p2p/12D3KooWJ6H9xRGmhcVTt96RB2SygpWeHsafs5VNAVyQT9UTCfHk"
    code, _, told = atoll("peers", "-s", f"run.uri={tmp_path / 'run'}", "--peer", asked)
    assert code == 2
    assert "set orchestrator.tls, see `atoll certs`" in told


def test_peers_by_a_token_asks_for_somebody_to_ask(atoll, settings, tmp_path):
    atoll("token", tmp_path / "far.pem", *settings, "--island", "far-1")
    code, _, told = atoll("peers", "--join", tmp_path / "far.pem")
    assert code == 2
    assert "--peer: name somebody to ask; see `atoll peer`" in told


def test_peers_that_are_none_are_refused(atoll, settings):
    code, _, told = atoll("peers", *settings, "--peer", "127.0.0.1:7100")
    assert code == 2
    assert "--peer: '127.0.0.1:7100' is no peer; write it as `atoll peer` prints it" in told


def test_peers_without_hivemind_tell_what_to_install(atoll, settings, monkeypatch):
    monkeypatch.setattr(dht, "find_spec", lambda _: None)
    asked = "127.0.0.1:7100/p2p/12D3KooWJ6H9xRGmhcVTt96RB2SygpWeHsafs5VNAVyQT9UTCfHk"
    code, _, told = atoll("peers", *settings, "--peer", asked)
    assert code == 2
    assert "pip install 'atoll[dht]'" in told


def test_peers_without_any_shows_what_the_orchestrator_tells_in_plain_text_too(tmp_path, atoll):
    uri = tmp_path / "run"
    stages.finish(open_store(str(uri)), "partition", {}, {"digest": "d" * 64})
    one = Record(
        Kind.EXPERTS, model_of("d" * 64), "127.0.0.1:7", "127.0.0.1:7", facts={"expert 3": "x"}
    )
    asked = ("peers", "-s", f"run.uri={uri}", "--json")
    with orchestrator(uri):
        with Registry(str(uri), "expert_server.tls", "", "server", SystemClock()) as registry:
            registry.announce(one, None)
        code, told, _ = atoll(*asked)
    assert code == 0
    (row,) = json.loads(told)
    assert (row["address"], row["works_on"]) == ("127.0.0.1:7", "expert 3")
    assert row["told_by"] == "the orchestrator"
    code, told, said = atoll(*asked)
    assert (code, json.loads(told)) == (0, [])
    assert "the orchestrator tells of no server of experts: no orchestrator of" in said
