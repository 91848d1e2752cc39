"""A peer as a process ends when it is told to, whoever else is told with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from atoll.__main__ import main

pytest.importorskip("hivemind")
pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_peer_ends_soon_where_its_daemon_is_told_to_end_as_well(tmp_path, number):
    with contextlib.suppress(SystemExit):
        main(["certs", str(tmp_path / "lab")])
    command = [sys.executable, "-m", "atoll", "peer", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--authority", str(tmp_path / "lab" / "ca.crt")],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as peer:
        try:
            assert peer.stdout.readline()
            os.killpg(peer.pid, number)  # as systemd does, and a terminal at Ctrl-C
            assert peer.wait(30) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(peer.pid, signal.SIGKILL)
