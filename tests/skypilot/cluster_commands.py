"""The commands on clusters and their jobs, and what they print."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.skypilot.state import State


def launch(state: State, words: list[str]) -> None:
    name, task = words[words.index("--cluster") + 1], json.loads(Path(words[-1]).read_text())
    print(f"YAML to run: {words[-1]}\nRunning on cluster: {name}")
    if state.misfortunes.get("no_cloud"):
        sys.exit(
            "sky.exceptions.NoCloudAccessError: Cloud access is not set up. Run: "
            "\x1b[1msky check\x1b[0m"
        )
    if task["resources"].get("cpus") == "1000+":
        sys.exit(
            "sky.exceptions.ResourcesUnavailableError: Catalog does not contain any instances "
            "satisfying the request: 1x AWS(cpus=1000+).\n"
            "To fix: relax or change the resource requirements.\n\n"
            "Hint: \x1b[1msky gpus list\x1b[0m to list available accelerators."
        )
    if "--dryrun" in words:
        print("Dryrun finished.\n")
        return
    if state.read(f"clusters/{name}"):
        sys.exit(f"AssertionError: {name} is there already, and would run the task twice")
    from tests.skypilot import server  # no other call waits for what it imports

    request = server.start(state, name, task)
    print(f"Submitted sky.launch request: {request}")
    print(f"├── Check logs with: sky api logs {request[:8]}")
    print(f"└── To cancel the request, run: sky api cancel {request[:8]}\n")


def status(state: State, words: list[str]) -> None:
    rows = []
    for row in state.rows("clusters"):
        name = f"clusters/{row['name']}"
        if "--refresh" in words and row.get("preempted"):
            print(f"\x1b[33mCluster terminated on the cloud: \x1b[0m\x1b[1m{row['name']}\x1b[0m")
            state.remove(name)
            continue
        if "--refresh" in words and row.get("lost"):
            why = "Cluster is abnormal because one or more nodes terminated. Transitioned to INIT"
            row |= {"status": "INIT", "init_kind": "unhealthy"}
            row |= {"init_status_reason": f"{why} (details: cluster is unhealthy)."}
            state.write(name, row)
        rows.append(row)
    print("\n" + json.dumps(rows, indent=2))


def queue(state: State, words: list[str]) -> None:
    names = words[1 : words.index("--output")]
    print(f"Fetching job queue for: {', '.join(names)}")
    found = {}
    for name in names:
        row, job = state.read(f"clusters/{name}"), state.read(f"jobs/{name}")
        if row is None or row["status"] != "UP" or job is None:
            why = f"sky.exceptions.ClusterNotUpError: Cluster {name!r} has been stopped."
        elif "queue" in state.misfortunes.get("blind", ()):
            why = "sky.exceptions.CommandError: Command failed with return code 255."
        else:
            found[name] = [job]
            continue
        print(f"\x1b[33mFailed to get the job queue for cluster {name!r}.\x1b[0m\n  {why}")
    print(json.dumps(found, indent=2))


def logs(state: State, words: list[str]) -> None:
    _, name, job, *_ = words
    print(f"\x1b[33mTailing logs of job {job} on cluster {name!r}...\x1b[0m")
    log, row = state.home_of(name) / "job.log", state.read(f"jobs/{name}")
    if row is None or not log.exists():
        sys.exit(f"sky.exceptions.ClusterDoesNotExist: Cluster {name!r} does not exist.")
    num_lines = int(words[words.index("--tail") + 1])
    print("\n".join(log.read_text().splitlines()[-num_lines:]))
    if row["status"] in {"SUCCEEDED", "FAILED", "FAILED_SETUP"}:
        print(f"\x1b[32m✓ Job finished (status: {row['status']}).\x1b[0m")
    if row["status"].startswith("FAILED"):
        sys.exit(100)


def down(state: State, words: list[str]) -> None:
    for name in words[2:]:
        if state.read(f"clusters/{name}") is None:
            print(f"Cluster(s) not found: \x1b[1m{name}\x1b[0m.")
        elif left := state.misfortunes.get("undying", 0):
            state.change("script", undying=left - 1)
            why = "RuntimeError: the cloud does not answer"
            print(f"\n\nTerminating cluster {name}...failed. {why}")
            print("Cluster(s) failed. See details above.")
        else:
            from tests.skypilot import nodes  # as above

            nodes.end(state.home_of(name))
            state.remove(f"clusters/{name}")
            state.remove(f"jobs/{name}")
            print(f"\n\nTerminating cluster {name}...done.")
