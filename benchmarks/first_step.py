"""From a submitted job to its first training step, on each provider that can be had here.

    python benchmarks/first_step.py [--providers local slurm ssh kubernetes skypilot] [--repeats 3]

An orchestrator serves and has no island. A job is submitted; its island is started, joins, acquires
the lease, and the real trainer makes its first step on the digits. Baseline, the provider's own
floor: a job that does nothing, from the command that asks for it until it is known to have ended.
The import of torch, which no provider can hasten, is measured beside it. What each provider is
here, places.py says. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from places import PROVIDERS, commanded, quiet, until

from atoll import stages
from atoll.blobs import open_store
from atoll.config import Config
from atoll.config_file import read_config
from atoll.control import ControlClient
from atoll.jobs import job_specs
from atoll.types import Role, Submission
from cluster import processes
from orchestrator.connect import attach

PATIENCE_S = 300.0
TINY = [
    *("partition.num_experts=2", "partition.num_fine=8", "expert.width=16", "expert.depth=1"),
    *("expert.heads=2", "expert.patch=4", "training.batch_size=32", "training.steps=100000"),
    *("evaluation.monolith=false", "island.count=1"),
]


def first_step_s(folder: Path, overrides: Sequence[str]) -> dict[str, float]:
    """One run: seconds from the submission to the lease, and to the first step."""
    settings = [f"run.uri={folder / 'run'}", *TINY, *overrides]
    options = [word for setting in settings for word in ("--set", setting)]
    atoll = [sys.executable, "-m", "atoll"]
    subprocess.run([*atoll, "partition", *options], check=True, **quiet)
    config = read_config(None, settings)
    server = subprocess.Popen([*atoll, "orchestrator", *options], **quiet)
    try:
        until(lambda: attach(config) is not None, server)
        with attach(config) as client:
            return watched(client, config)
    finally:
        server.kill()
        server.wait()


def watched(client: ControlClient, config: Config) -> dict[str, float]:
    digest = stages.require(open_store(config.run.uri), "partition", needed_by="it")["digest"]
    spec = job_specs(config, digest, [Role.EXPERT])[0]
    begin = time.perf_counter()
    client.submit([Submission(spec)])
    leased_s = 0.0
    while time.perf_counter() - begin < PATIENCE_S:
        (job,) = client.fleet().jobs
        now_s = time.perf_counter() - begin
        leased_s = leased_s or (now_s if job.island else 0.0)
        if job.progress.step:
            return {"leased_s": leased_s, "first_step_s": now_s}
        time.sleep(0.02)
    raise SystemExit(f"no step within {PATIENCE_S:g} s: {job.reason or job.log}")


def timed(call: Callable[[], None]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)


def measured(name: str, repeats: int) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as place,
        PROVIDERS[name](Path(place)) as (settings, nothing),
    ):
        runs = []
        for number in range(repeats):
            folder = Path(place) / f"run-{number}"
            folder.mkdir()
            runs.append(first_step_s(folder, settings))
            processes.kill(processes.working_in(Path(place)))  # hosts keep islands elsewhere
        floor_s = median([timed(nothing) for _ in range(repeats)])
    found = {key: median([run[key] for run in runs]) for key in runs[0]}
    above_s = round(found["first_step_s"] - floor_s, 2)
    ratio = round(found["first_step_s"] / floor_s, 1)
    return {**found, "floor_s": floor_s, "above_floor_s": above_s, "ratio_to_floor": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--providers", nargs="+", choices=PROVIDERS, default=list(PROVIDERS))
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch = commanded(sys.executable, "-c", "import torch")
    result: dict[str, Any] = {"benchmark": "first_step", "cores": os.cpu_count()}
    result |= {name: measured(name, args.repeats) for name in args.providers}
    result["import_torch_s"] = median([timed(torch) for _ in range(args.repeats)])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
