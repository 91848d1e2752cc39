"""A peer of a DHT as a user starts one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def peer(certificates: Path, listen: str = "127.0.0.1:0", *more: str) -> Iterator[str]:
    """A peer that keeps a lab's records; its address. Skips the test where there is no hivemind."""
    if importlib.util.find_spec("hivemind") is None:
        pytest.skip("no DHT here: pip install 'atoll[dht]'")
    command = [sys.executable, "-m", "atoll", "peer", "--authority", certificates / "ca.crt"]
    with subprocess.Popen(
        [*command, "--listen", listen, *more], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "it did not start"
        try:
            yield address
        except BaseException:
            process.kill()  # else it would be waited for
            raise
        if process.poll() is None:  # a test may have killed it
            process.terminate()
            assert process.wait(30) == 0
