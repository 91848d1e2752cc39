"""The command that makes a join token."""

from __future__ import annotations

import stat

import pytest

from atoll import identity
from atoll.join_token import JoinToken


@pytest.fixture
def settings(tmp_path, atoll):
    atoll("certs", tmp_path / "tls")
    return ["-s", f"run.uri={tmp_path / 'run'}", "-s", f"orchestrator.tls={tmp_path / 'tls'}"]


def test_token_is_written_for_its_owner_alone_and_told_by_its_file(tmp_path, atoll, settings):
    file = tmp_path / "far-1.pem"
    code, out, told = atoll("token", file, "--island", "far-1", *settings)
    assert (code, out) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    who = JoinToken.read(file).identity
    assert who == identity.joining(who.run, "far-1")
    assert f"--run {who.run} --island far-1 --work-dir work --join far-1.pem" in told
    assert "PRIVATE" not in told


def test_token_through_a_pipe_is_all_that_is_printed(tmp_path, atoll, settings):
    code, out, told = atoll("token", "-", *settings)
    (tmp_path / "piped").write_text(out)
    (tmp_path / "piped").chmod(0o600)
    assert (code, told) == (0, "")
    assert JoinToken.read(tmp_path / "piped").identity.name == "*"


def test_token_of_a_run_in_plain_text_is_refused_with_the_mend(tmp_path, atoll):
    code, _, told = atoll("token", tmp_path / "t", "-s", f"run.uri={tmp_path / 'run'}")
    assert code == 2
    assert "set orchestrator.tls, see `atoll certs`" in told


def test_token_for_what_is_no_name_is_refused(tmp_path, atoll, settings):
    code, _, told = atoll("token", tmp_path / "t", "--island", "a b", *settings)
    assert code == 2
    assert "--island: 'a b' is no name" in told
    assert not (tmp_path / "t").exists()


def test_token_without_the_folder_names_the_command_that_makes_it(tmp_path, atoll, settings):
    settings[-1] = f"orchestrator.tls={tmp_path / 'none'}"
    code, _, told = atoll("token", tmp_path / "t", *settings)
    assert code == 2
    assert f"`atoll certs {tmp_path / 'none'}`" in told


def test_token_of_a_run_with_peers_is_told_with_those_to_ask(tmp_path, atoll, settings):
    name = "12D3KooWJ6H9xRGmhcVTt96RB2SygpWeHsafs5VNAVyQT9UTCfHk"
    peers = [f"192.0.2.7:1/p2p/{name}", f"192.0.2.9:1/p2p/{name}"]
    settings += ["-s", f"membership.peers={peers}"]
    code, _, told = atoll("token", tmp_path / "t", "--island", "far-1", *settings)
    asked = " ".join(f"--peer {peer}" for peer in peers)
    assert code == 0
    assert f"atoll agent {asked} --island far-1 --work-dir work --join t" in told
