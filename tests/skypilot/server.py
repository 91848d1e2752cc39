"""What SkyPilot's server does after a launch: finds a place, makes nodes, gives them the job."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.skypilot.job import work
from tests.skypilot.nodes import Nodes
from tests.skypilot.rows import cluster_row, job_row, request_row
from tests.skypilot.state import State


def start(state: State, name: str, task: dict[str, Any]) -> str:
    """Leave a launch to a process of its own; the id of the request."""
    request = str(uuid4())
    state.write(f"requests/{request}", request_row(request, name))
    state.write(f"tasks/{name}", task)
    with (state.folder / "server.log").open("a") as log:
        subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.skypilot.server", state.folder, name, request],
            env={**os.environ, "HOME": str(state.home_of(name))},  # it ends with its nodes
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    return request


def main(folder: str, name: str, request: str) -> None:
    state = State(Path(folder))
    task = state.read(f"tasks/{name}")
    state.change(f"requests/{request}", pid=os.getpid())
    state.write(f"clusters/{name}", cluster_row(name, task))
    while state.misfortunes.get("held"):
        time.sleep(0.02)
    refusals = state.misfortunes.get("refuse", {})
    places = places_of(task)
    place = next((place for place in places if place not in refusals), None)
    if place is None:
        state.remove(f"clusters/{name}")
        error = no_room([(place, refusals[place]) for place in places])
        state.change(f"requests/{request}", status="FAILED", said=error)
    elif state.misfortunes.get("unprepared"):
        state.change(f"clusters/{name}", status="UP", place=place)
        error = "RuntimeError: Failed to run setup commands on an instance. (exit code 1). Error: "
        error += "===== stdout =====\ncurl: (6) Could not resolve host: astral.sh"
        state.change(f"requests/{request}", status="FAILED", said=error)
    else:
        nodes = Nodes(state.home_of(name), task.get("num_nodes", 1))
        nodes.mount(task.get("file_mounts", {}))
        state.write(f"jobs/{name}", job_row(task))
        state.change(f"clusters/{name}", status="UP", init_kind=None, place=place)
        state.change(f"requests/{request}", status="SUCCEEDED")
        work(nodes, task, lambda status: state.change(f"jobs/{name}", status=status))


def places_of(task: dict[str, Any]) -> list[str]:
    """Those to try, the best first."""
    choices = task["resources"].get("ordered", [task["resources"]])
    kinds = {True: "spot", False: "on-demand"}
    return [f"{choice.get('infra', 'any')} {kinds[choice['use_spot']]}" for choice in choices]


def no_room(refusals: list[tuple[str, str]]) -> str:
    """What is said when every place refused."""
    told = (f"✗ {place} — (gpus=H100:8, ...)\n  {why}\n" for place, why in refusals)
    return (
        "sky.exceptions.ResourcesUnavailableError: \x1b[31mFailed to provision all possible "
        "launchable resources.\x1b[0m Relax the task's resource requirements: 1x AWS([Spot])\n"
        "To keep retrying until the cluster is up, use the `--retry-until-up` flag.\n"
        "Reasons for provision failures (for details, please check the log above):\n"
        f"Provision failures (tried {len(refusals)} infra):\n\n" + "\n".join(told)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
