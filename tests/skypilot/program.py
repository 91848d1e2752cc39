"""A `sky` that keeps its clusters in a folder, and whose nodes are processes of this machine.

What it prints has the shapes that SkyPilot 0.14.1 printed for the same commands, on a real Slurm.
A task's setup and run are really run, on each of its nodes.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path

from tests.skypilot import cluster_commands, request_commands
from tests.skypilot.state import State

COMMANDS = {
    "launch": cluster_commands.launch,
    "status": cluster_commands.status,
    "queue": cluster_commands.queue,
    "logs": cluster_commands.logs,
    "down": cluster_commands.down,
    "api status": request_commands.status,
    "api cancel": request_commands.cancel,
    "api logs": request_commands.logs,
}


def main(words: list[str]) -> None:
    state = State(Path(os.environ["SCRIPTED_SKY"]))
    with (state.folder / "calls").open("a") as calls:
        calls.write(shlex.join(words) + "\n")
    command = words[0] if words[0] != "api" else f"api {words[1]}"
    misfortunes = state.misfortunes
    time.sleep(misfortunes.get("slow_s", {}).get(command, 0))
    if command in misfortunes.get("garbage", {}):
        print(misfortunes["garbage"][command])
    else:
        COMMANDS[command](state, words)


if __name__ == "__main__":
    main(sys.argv[1:])
