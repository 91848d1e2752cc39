"""What is refused before anything starts on a host."""

from __future__ import annotations

import sys

import pytest

from atoll.config_file import read_config
from atoll.errors import ConfigError, IslandError
from cluster.ssh import SshProvider
from tests.cluster.ssh.conftest import ONE, pair_of, refusal, script, spec_of


@pytest.mark.parametrize("host", ["-oProxyCommand=touch x", "-1", "", "a b", "a\nb"])
def test_hosts_that_ssh_would_take_for_something_else_are_refused(host):
    with pytest.raises(ConfigError, match=r"ssh\.hosts: .* is no host"):
        read_config(None, [f'ssh.hosts=["{host}"]'.replace("\n", "\\n")])


def test_host_named_twice_is_refused():
    with pytest.raises(ConfigError, match=r"ssh\.hosts: 'a' stands there twice"):
        read_config(None, ['ssh.hosts=["a", "b", "a"]'])


def test_option_that_ssh_would_take_for_a_host_is_refused():
    with pytest.raises(ConfigError, match=r"ssh\.options: 'Port=22' is no option"):
        read_config(None, ['ssh.options=["Port=22"]'])


def test_no_hosts_are_refused(tmp_path):
    provider = SshProvider(read_config(None, ['island.provider="ssh"']), "run", tmp_path)
    assert "ssh.hosts names none for 2 islands" in refusal(provider)


def test_more_islands_than_hosts_are_refused(make):
    assert "ssh.hosts names 2 for 3 islands" in refusal(make("island.count=3"))


def test_more_nodes_of_islands_than_hosts_are_refused(make):
    with pytest.raises(ConfigError, match=r"names 2 for 2 islands of island\.nodes = 2, .* lower"):
        make("island.nodes=2").validate(pair_of("island-0"))


def test_host_of_a_name_that_cannot_be_does_not_answer(make):
    provider = make(*ONE, 'ssh.hosts=["one..two"]')
    assert provider.capabilities().elsewhere
    with pytest.raises(IslandError, match=r"one\.\.two cannot be reached"):
        provider.validate(spec_of("island-0"))


def test_machine_without_ssh_is_refused(make, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "install OpenSSH's client" in refusal(make())


def test_host_with_an_unknown_key_is_refused(make, config_with):
    said = refusal(make(*ONE, config_with("Host one\n UserKnownHostsFile /nonexistent")))
    assert "ssh.hosts: one shows a key that is not known here" in said
    assert "accept it: `ssh -F" in said


def test_host_with_another_key_than_before_is_refused(make, config_with, sshd):
    other = f"UserKnownHostsFile {sshd.folder}/two/known_hosts\n HostKeyAlias two"
    said = refusal(make(*ONE, config_with(f"Host one\n {other}")))
    assert "ssh.hosts: one shows another key than the one that is known here" in said
    assert "ssh-keygen -R" in said


def test_host_that_lets_nobody_in_is_refused(make, config_with):
    said = refusal(make(*ONE, config_with("Host one\n PubkeyAuthentication no")))
    assert "ssh.hosts: one does not let you in (" in said
    assert "Permission denied" in said
    assert "one true` must work without a question" in said


def test_host_without_python_is_refused(make):
    said = refusal(make(*ONE, "ssh.python=/nonexistent/python"))
    assert "ssh.hosts: one has no /nonexistent/python" in said
    assert "set ssh.python" in said


def test_host_without_atoll_is_refused(make, tmp_path):
    said = refusal(make(*ONE, script(tmp_path / "bare", f'exec {sys.executable} -E -S "$@"')))
    assert "without Atoll (" in said
    assert "No module named" in said


def test_host_with_another_version_is_refused(make, tmp_path):
    greeting = '{"atoll": "0.0.1", "machine": "", "num_gpus": 0}'
    said = refusal(make(*ONE, script(tmp_path / "old", f"echo '{greeting}'; cat")))
    assert "one has Atoll 0.0.1, and this machine" in said


def test_host_whose_folder_cannot_be_written_is_refused(make, tmp_path):
    (tmp_path / "file").touch()
    said = refusal(make(*ONE, f"ssh.folder={tmp_path}/file"))
    assert said.startswith("one: ")
    assert "set ssh.folder" in said


def test_host_without_the_folder_of_the_run_is_refused(make):
    assert "run.uri = /nonexistent is no folder there" in refusal(
        make(*ONE, "run.uri=/nonexistent")
    )


def test_machine_under_two_names_is_refused(make, config_with, sshd):
    again = (sshd.folder / "one" / "config").read_text().replace("Host one", "Host again", 1)
    said = refusal(make(config_with(again), 'ssh.hosts=["one", "again"]'))
    assert "one and again are one machine" in said


def test_ssh_options_that_ssh_does_not_know_are_refused(make):
    assert "see ssh.config and ssh.options" in refusal(make(*ONE, 'ssh.options=["-oNoSuch=yes"]'))
