"""The commands of `sky api`, on requests to SkyPilot's server, and what they print."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress

from tests.skypilot.state import State


def status(state: State, words: list[str]) -> None:
    rows = state.rows("requests")
    ids = [word for word in words if len(word) == 36]
    if ids:
        rows = [row for row in rows if row["request_id"] in ids]
    if "--cluster" in words:
        name = words[words.index("--cluster") + 1]
        rows = [row for row in rows if row["cluster_name"] == name]
    print(json.dumps(rows, indent=2))


def cancel(state: State, words: list[str]) -> None:
    request = words[-1]
    row = state.read(f"requests/{request}")
    print(f"Cancelling 1 request: {request!r}...")
    if row["status"] != "RUNNING":
        print("No requests need to be cancelled.")
        return
    with suppress(ProcessLookupError, KeyError):
        os.kill(row["pid"], signal.SIGKILL)
    state.change(f"requests/{request}", status="CANCELLED")
    print(f"Cancelled 1 request: {request}")


def logs(state: State, words: list[str]) -> None:
    row = state.read(f"requests/{words[-1]}")
    print("⚙︎ Launching on AWS us-east-1.")
    if row["status"] == "FAILED":
        sys.exit(row["said"])
