from __future__ import annotations

import subprocess
import sys

from cluster.own_address import address_towards, addresses_of_this_machine


def test_address_towards_this_machine_is_loopback():
    assert address_towards("127.0.0.1:7000") == "127.0.0.1"
    assert address_towards("[::1]:7000") in {"::1", "127.0.0.1"}  # without IPv6


def test_address_towards_a_host_that_nobody_knows_is_loopback():
    assert address_towards("nowhere.invalid:7000") == "127.0.0.1"


def test_addresses_of_this_machine_are_those_a_node_may_be_reached_at(tmp_path):
    assert "127.0.0.1" in addresses_of_this_machine()
    command = [sys.executable, "-m", "atoll", "agent", "--orchestrator", "127.0.0.1:1"]
    command += ["--run", "run", "--island", "island-1", "--work-dir", str(tmp_path)]
    command += ["--node", "node-0", "--address", "203.0.113.9"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 2
    assert "--address: '203.0.113.9' is none of this machine's: " in ended.stderr
