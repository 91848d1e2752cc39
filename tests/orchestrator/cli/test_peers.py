"""The command that shows who of a run its DHT tells of; what it shows is in tests/membership."""

from __future__ import annotations

import pytest

from membership import dht


@pytest.fixture
def settings(tmp_path, atoll):
    atoll("certs", tmp_path / "tls")
    return ["-s", f"run.uri={tmp_path / 'run'}", "-s", f"orchestrator.tls={tmp_path / 'tls'}"]


def test_peers_of_a_run_in_plain_text_are_refused_with_the_mend(tmp_path, atoll):
    code, _, told = atoll("peers", "-s", f"run.uri={tmp_path / 'run'}")
    assert code == 2
    assert "set orchestrator.tls, see `atoll certs`" in told


def test_peers_asks_for_somebody_to_ask(atoll, settings):
    code, _, told = atoll("peers", *settings)
    assert code == 2
    assert "--peer: name somebody to ask, or set membership.peers; see `atoll peer`" in told


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
