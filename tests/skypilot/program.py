"""A `sky` that keeps its clusters in a folder, and whose nodes are processes of this machine.

What it prints has the shapes that SkyPilot 0.14.1 printed for the same commands, on a real Slurm.
A task's setup and run are really run, on each of its nodes. What shall go wrong stands in
script.json:

    no_cloud     there are credentials for none
    refuse       what a place says instead of making a node, by "aws/us-east-1 spot" and the like
    held         launches wait until this is false
    unprepared   the node is there, but SkyPilot cannot set it up
    blind        commands that cannot look into nodes
    garbage      what a command prints instead of its answer
    slow_s       seconds until a command answers
    undying      how many times `down` fails
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

FOLDER = Path(os.environ.get("SCRIPTED_SKY", "/nonexistent"))


def main(words: list[str]) -> int:
    if words[0] == "serve":
        return serve(words)
    with (FOLDER / "calls").open("a") as calls:
        calls.write(shlex.join(words) + "\n")
    command = words[0] if words[0] != "api" else f"api {words[1]}"
    time.sleep(script().get("slow_s", {}).get(command, 0))
    if command in script().get("garbage", {}):
        print(script()["garbage"][command])
        return 0
    return {
        "launch": launch,
        "status": status,
        "queue": queue,
        "logs": logs,
        "down": down,
        "api status": requests,
        "api cancel": cancel,
        "api logs": request_logs,
    }[command](words)


def script() -> dict[str, Any]:
    return read("script.json") or {}


def read(name: str) -> Any:
    path = FOLDER / name
    return json.loads(path.read_text()) if path.exists() else None


def write(name: str, tree: Any) -> None:
    write_to(FOLDER / name, tree)


def write_to(path: Path, tree: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(tree))
    temporary.replace(path)


def change(name: str, **values: Any) -> None:
    write(name, {**read(name), **values})


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def fail(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 1


def launch(words: list[str]) -> int:
    name, task = after(words, "--cluster"), json.loads(Path(words[-1]).read_text())
    print(f"YAML to run: {words[-1]}\nRunning on cluster: {name}")
    if script().get("no_cloud"):
        return fail(
            "sky.exceptions.NoCloudAccessError: Cloud access is not set up. Run: "
            "\x1b[1msky check\x1b[0m"
        )
    if task["resources"].get("cpus") == "1000+":
        return fail(
            "sky.exceptions.ResourcesUnavailableError: Catalog does not contain any instances "
            "satisfying the request: 1x AWS(cpus=1000+).\n"
            "To fix: relax or change the resource requirements.\n\n"
            "Hint: \x1b[1msky gpus list\x1b[0m to list available accelerators."
        )
    if "--dryrun" in words:
        print("Dryrun finished.\n")
        return 0
    if read(f"clusters/{name}.json"):
        return fail(f"AssertionError: {name} is there already, and would run the task twice")
    request = str(uuid4())
    row = {"name": "sky.launch", "status": "RUNNING", "cluster_name": name, "error": "null"}
    write(f"requests/{request}.json", {**row, "request_id": request, "created_at": time.time()})
    write(f"tasks/{name}.json", task)
    with (FOLDER / "server.log").open("a") as log:
        command = [sys.executable, __file__, "serve", name, request]
        subprocess.Popen(command, start_new_session=True, stdin=-3, stdout=log, stderr=log)
    print(f"Submitted sky.launch request: {request}")
    print(f"├── Check logs with: sky api logs {request[:8]}")
    print(f"└── To cancel the request, run: sky api cancel {request[:8]}\n")
    return 0


def serve(words: list[str]) -> int:
    """What SkyPilot's server and the node do."""
    _, name, request = words
    task = read(f"tasks/{name}.json")
    change(f"requests/{request}.json", pid=os.getpid())
    write(f"clusters/{name}.json", cluster_row(name, task, "INIT", "launching"))
    while script().get("held"):
        time.sleep(0.02)
    refused = []
    for choice in task["resources"].get("ordered", [task["resources"]]):
        place = f"{choice.get('infra', 'any')} {'spot' if choice['use_spot'] else 'on-demand'}"
        if place not in script().get("refuse", {}):
            break
        refused.append(f"✗ {place} — (gpus=H100:8, ...)\n  {script()['refuse'][place]}\n")
    else:
        (FOLDER / "clusters" / f"{name}.json").unlink()
        error = (
            "sky.exceptions.ResourcesUnavailableError: \x1b[31mFailed to provision all possible "
            "launchable resources.\x1b[0m Relax the task's resource requirements: 1x AWS([Spot])\n"
            "To keep retrying until the cluster is up, use the `--retry-until-up` flag.\n"
            "Reasons for provision failures (for details, please check the log above):\n"
            f"Provision failures (tried {len(refused)} infra):\n\n" + "\n".join(refused)
        )
        change(f"requests/{request}.json", status="FAILED", said=error)
        return 0
    if script().get("unprepared"):
        change(f"clusters/{name}.json", status="UP", place=place)
        error = "RuntimeError: Failed to run setup commands on an instance. (exit code 1). Error: "
        error += "===== stdout =====\ncurl: (6) Could not resolve host: astral.sh"
        change(f"requests/{request}.json", status="FAILED", said=error)
        return 0
    homes = homes_of(name, task)
    for home in homes:
        for there, here in task.get("file_mounts", {}).items():
            target = home / there.removeprefix("~/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(here, target)  # as rsync does, with its mode
    write(f"jobs/{name}.json", job_row(task, "SETTING_UP" if "setup" in task else "PENDING"))
    change(f"clusters/{name}.json", status="UP", init_kind=None, place=place)
    change(f"requests/{request}.json", status="SUCCEEDED")
    speakers = ["setup pid={pid}"] + ["setup pid={pid}, ip={ip}"] * (len(homes) - 1)
    codes = run_on(homes, speakers, task.get("setup", "true"), name)
    if any(codes):
        said = f"Job 1's setup failed with return code {max(codes)} (pid=9)."
        tell_log(name, f"ERROR: \x1b[31m{said}\x1b[0m")
        change(f"jobs/{name}.json", status="FAILED_SETUP")
        return 0
    change(f"jobs/{name}.json", status="RUNNING")
    speakers = ["head, rank=0, pid={pid}"] + [
        f"worker{rank}, rank={rank}, pid={{pid}}, ip={{ip}}" for rank in range(1, len(homes))
    ]
    if len(homes) == 1:
        speakers = [f"{task['name']}, pid={{pid}}"]
    codes = run_on(homes, speakers, task["run"], name)
    if any(codes):
        tell_log(name, f"ERROR: \x1b[31mJob 1 failed with return code list:\x1b[0m {codes} ")
    change(f"jobs/{name}.json", status="FAILED" if any(codes) else "SUCCEEDED")
    return 0


def homes_of(name: str, task: dict[str, Any]) -> list[Path]:
    """Of the machines of a cluster, made if they are not there."""
    num = task.get("num_nodes", 1)
    machines = ["head", *(f"worker{rank}" for rank in range(1, num))] if num > 1 else ["."]
    homes = [FOLDER / "nodes" / name / machine for machine in machines]
    for home in homes:
        home.mkdir(parents=True, exist_ok=True)
    return homes


def node_of(homes: list[Path], rank: int) -> dict[str, str]:
    """The environment of what runs on a machine."""
    return {
        **os.environ,
        "HOME": str(homes[rank]),
        "SKYPILOT_NODE_RANK": str(rank),
        "SKYPILOT_NUM_NODES": str(len(homes)),
        "SKYPILOT_NODE_IPS": "\n".join(map(ip_of, range(len(homes)))),
    }


def ip_of(rank: int) -> str:
    return f"10.0.0.{rank + 4}"


def run_on(homes: list[Path], speakers: list[str], lines: str, name: str) -> list[int]:
    """Run lines of a shell on each machine; where they fail on one, the others are killed."""
    running, readers = [], []
    for rank, home in enumerate(homes):
        process = subprocess.Popen(
            ["bash", "-c", lines],
            env=node_of(homes, rank),
            cwd=home,
            stdin=-3,
            stdout=-1,
            stderr=-2,
            text=True,
            start_new_session=True,
        )
        speaker = speakers[rank].format(pid=process.pid, ip=ip_of(rank))
        readers.append(threading.Thread(target=spoken, args=(process, speaker, name)))
        readers[-1].start()
        running.append(process)
    while any(process.poll() is None for process in running):
        if any(process.poll() for process in running):
            for process in running:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.05)
    for reader in readers:
        reader.join()
    codes = [process.returncode for process in running]
    return [code if code >= 0 else 128 - code for code in codes]


def spoken(process: subprocess.Popen[str], speaker: str, name: str) -> None:
    """Each line that it writes, with its speaker before it."""
    assert process.stdout
    for line in process.stdout:
        tell_log(name, f"\x1b[36m({speaker})\x1b[0m {line.rstrip()}")


def tell_log(name: str, line: str) -> None:
    with (FOLDER / "nodes" / name / "job.log").open("a") as log:
        log.write(line + "\n")


def cluster_row(name: str, task: dict[str, Any], state: str, kind: str | None) -> dict[str, Any]:
    return {
        "name": name,
        "launched_at": int(time.time()),
        "last_use": "",
        "status": state,
        "autostop": task["resources"].get("autostop", {}).get("idle_minutes", -1),
        "to_down": "autostop" in task["resources"],
        "cluster_hash": str(uuid4()),
        "cluster_ever_up": False,
        "user_name": "root",
        "workspace": "default",
        "is_managed": False,
        "init_kind": kind,
        "init_status_reason": None,
        "resources_str": "1x(cpus=1, mem=1, ...)",
        "nodes": task.get("num_nodes", 1),
        "cloud": "AWS",
        "region": "us-east-1",
        "labels": task["resources"]["labels"],
    }


def job_row(task: dict[str, Any], state: str) -> dict[str, Any]:
    return {
        "job_id": 1,
        "job_name": task["name"],
        "username": "root",
        "submitted_at": time.time(),
        "start_at": None,
        "end_at": None,
        "resources": "1x[CPU:1]",
        "status": state,
        "log_path": "~/sky_logs/sky-2026-11-26-04-59-16-941535",
        "metadata": {},
        "links": {},
    }


def status(words: list[str]) -> int:
    rows = []
    for path in sorted((FOLDER / "clusters").glob("*.json")):
        row = read(f"clusters/{path.name}")
        if "--refresh" in words and row.get("preempted"):
            print(f"\x1b[33mCluster terminated on the cloud: \x1b[0m\x1b[1m{row['name']}\x1b[0m")
            path.unlink()
            continue
        if "--refresh" in words and row.get("lost"):
            why = "Cluster is abnormal because one or more nodes terminated. Transitioned to INIT"
            row |= {"status": "INIT", "init_kind": "unhealthy"}
            row |= {"init_status_reason": f"{why} (details: cluster is unhealthy)."}
            write(f"clusters/{path.name}", row)
        rows.append(row)
    print("\n" + json.dumps(rows, indent=2))
    return 0


def queue(words: list[str]) -> int:
    names = words[1 : words.index("--output")]
    print(f"Fetching job queue for: {', '.join(names)}")
    found = {}
    for name in names:
        row = read(f"clusters/{name}.json")
        if row is None or row["status"] != "UP" or not read(f"jobs/{name}.json"):
            why = f"sky.exceptions.ClusterNotUpError: Cluster {name!r} has been stopped."
        elif "queue" in script().get("blind", ()):
            why = "sky.exceptions.CommandError: Command failed with return code 255."
        else:
            found[name] = [read(f"jobs/{name}.json")]
            continue
        print(f"\x1b[33mFailed to get the job queue for cluster {name!r}.\x1b[0m\n  {why}")
    print(json.dumps(found, indent=2))
    return 0


def logs(words: list[str]) -> int:
    _, name, job, *_ = words
    print(f"\x1b[33mTailing logs of job {job} on cluster {name!r}...\x1b[0m")
    log, row = FOLDER / "nodes" / name / "job.log", read(f"jobs/{name}.json")
    if row is None or not log.exists():
        return fail(f"sky.exceptions.ClusterDoesNotExist: Cluster {name!r} does not exist.")
    print("\n".join(log.read_text().splitlines()[-int(after(words, "--tail")) :]))
    if row["status"] in {"SUCCEEDED", "FAILED", "FAILED_SETUP"}:
        print(f"\x1b[32m✓ Job finished (status: {row['status']}).\x1b[0m")
    return 100 if row["status"].startswith("FAILED") else 0


def down(words: list[str]) -> int:
    for name in words[2:]:
        take_down(name)
    return 0


def take_down(name: str) -> None:
    if read(f"clusters/{name}.json") is None:
        print(f"Cluster(s) not found: \x1b[1m{name}\x1b[0m.")
    elif left := script().get("undying", 0):
        change("script.json", undying=left - 1)
        print(f"\n\nTerminating cluster {name}...failed. RuntimeError: the cloud does not answer")
        print("Cluster(s) failed. See details above.")
    else:
        end_node(FOLDER, name)
        for kind in ("clusters", "jobs"):
            (FOLDER / kind / f"{name}.json").unlink(missing_ok=True)
        print(f"\n\nTerminating cluster {name}...done.")


def end_node(folder: Path, name: str) -> None:
    """The machine is gone, with whatever ran on it."""
    import psutil  # half of what a call would take

    home = folder / "nodes" / name
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            serves = process.cmdline()[1:4] == [__file__, "serve", name]
            own = Path(process.environ().get("HOME", "/"))
            if serves or home in (own, own.parent):
                process.kill()
    shutil.rmtree(home, ignore_errors=True)


def requests(words: list[str]) -> int:
    rows = [read(f"requests/{path.name}") for path in (FOLDER / "requests").glob("*.json")]
    ids = [word for word in words if len(word) == 36]
    if ids:
        rows = [row for row in rows if row["request_id"] in ids]
    if "--cluster" in words:
        rows = [row for row in rows if row["cluster_name"] == after(words, "--cluster")]
    print(json.dumps(rows, indent=2))
    return 0


def cancel(words: list[str]) -> int:
    row = read(f"requests/{words[-1]}.json")
    print(f"Cancelling 1 request: {words[-1]!r}...")
    if row["status"] != "RUNNING":
        print("No requests need to be cancelled.")
        return 0
    with suppress(ProcessLookupError, KeyError):
        os.kill(row["pid"], signal.SIGKILL)
    change(f"requests/{words[-1]}.json", status="CANCELLED")
    print(f"Cancelled 1 request: {words[-1]}")
    return 0


def request_logs(words: list[str]) -> int:
    row = read(f"requests/{words[-1]}.json")
    print("⚙︎ Launching on AWS us-east-1.")
    return fail(row["said"]) if row["status"] == "FAILED" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
