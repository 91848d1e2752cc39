"""How ssh is called."""

from __future__ import annotations

import subprocess

import pytest

from atoll import identity
from atoll.provider_sections import SshSection
from cluster.ssh_command import by_hand, connecting, leads_here, node_name


@pytest.fixture
def ssh(tmp_path) -> SshSection:
    (tmp_path / "config").write_text(
        """
        Host here
          HostName 127.0.0.1
        Host there
          HostName 192.0.2.7
        Host behind
          HostName 127.0.0.1
          ProxyJump there
        """
    )
    return SshSection(config=str(tmp_path / "config"), options=("-oPort=2222",))


@pytest.mark.parametrize(("host", "here"), [("here", True), ("there", False), ("behind", False)])
def test_host_is_this_machine_only_where_ssh_goes_straight_to_its_loopback(ssh, host, here):
    assert leads_here(ssh, host) is here


def test_host_is_called_by_hand_as_atoll_calls_it(ssh):
    assert by_hand(ssh, "there") == ["ssh", "-F", ssh.config, "-oPort=2222", "there"]


def test_words_of_the_configuration_reach_the_host_as_they_were_written(ssh, tmp_path):
    """What the host's shell is given is run by a shell here, with a program in Python's place."""
    program = tmp_path / "it's a python"
    program.write_text('#!/bin/sh\nprintf "%s|" "$@"\necho "$WORD"\n')
    program.chmod(0o755)
    odd = '~/is\'lands; echo "$HOME"'
    changed = {"python": str(program), "folder": odd, "setup": "echo noise\nexport WORD=\"a 'b'\""}
    *_, end, host, line = connecting(ssh.model_copy(update=changed), "there", "my run's")
    assert (end, host) == ("--", "there")
    told = subprocess.run(["bash", "-c", line], check=True, capture_output=True, text=True)
    assert told.stdout == f"-P|-m|cluster.host|{odd}|my run's|there|a 'b'\n"
    assert told.stderr == "noise\n"


def test_python_in_the_home_of_a_host_is_found_there(ssh, tmp_path):
    (tmp_path / "my env").mkdir()
    (tmp_path / "my env" / "python").symlink_to("/bin/echo")
    line = connecting(ssh.model_copy(update={"python": "~/my env/python"}), "there", "run")[-1]
    told = subprocess.run(
        ["sh", "-c", line], check=True, capture_output=True, text=True, env={"HOME": str(tmp_path)}
    )
    assert told.stdout.startswith("-P -m cluster.host ")


@pytest.mark.parametrize(
    ("host", "node"),
    [
        ("gpu1", "gpu1"),
        ("me@gpu1.example.org", "gpu1.example.org"),
        ("fe80::1%eth0", "fe80-1-eth0"),
        ("[::1]", "1-"),
        ("::", "node"),
        ("a" * 63, "a" * 50),
    ],
)
def test_node_is_called_as_its_host_wherever_that_is_a_name(host, node):
    assert node_name(host) == node
    identity.island("run", "island-1", f"{node}-5e2c")
