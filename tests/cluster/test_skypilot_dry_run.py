"""Tasks and calls, given to SkyPilot's own parsers and optimizer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atoll.config_file import read_config
from cluster.provider import NodeSpec
from cluster.skypilot.provider import SkypilotProvider
from cluster.skypilot.task import task_of
from tests.skypilot import scripted

ROOT = Path(__file__).parents[2]
AGENT = ("--orchestrator", "a:1", "--run", "r")
SPEC = NodeSpec("island-1", "runs/digits", AGENT, 8, "hush hush", num_nodes=2)
# Made-up prices, in the columns of SkyPilot's catalogue.
CATALOGUE = {
    "common/accelerators.csv": """AcceleratorName,Clouds
H100,"['AWS', 'GCP']"
""",
    "aws/vms.csv": """InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,\
SpotPrice,Region,AvailabilityZone,Arch
p5.48xlarge,H100,8.0,192.0,2048.0,H100,90.0,30.0,us-east-1,us-east-1a,x86_64
""",
    "gcp/vms.csv": """InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,\
SpotPrice,Region,AvailabilityZone
,H100,8.0,,,H100,70.0,20.0,us-central1,us-central1-a
a3-highgpu-8g,,,208.0,1872.0,,10.0,5.0,us-central1,us-central1-a
""",
}


@pytest.fixture(scope="module")
def python() -> str:
    found = subprocess.run(
        [ROOT / "scripts" / "skypilot", "find"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip("no SkyPilot here: run scripts/skypilot install")
    return found.stdout.strip()


@pytest.fixture
def dry_run(python, tmp_path) -> Callable[[Path, Path], Any]:
    """What SkyPilot makes of a task and of calls; see dry_run.py."""
    for name, text in CATALOGUE.items():
        path = tmp_path / ".sky" / "catalogs" / "v8" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    settings = {"HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}

    def dry_run(task: Path, calls: Path) -> Any:
        done = subprocess.run(
            [python, ROOT / "tests" / "skypilot" / "dry_run.py", task, calls],
            env={"PATH": os.environ["PATH"], **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return dry_run


@pytest.fixture
def calls(tmp_path) -> Path:
    """Everything that a provider asks of SkyPilot in a node's life."""
    program = scripted.install(tmp_path / "sky")
    keys = [f"skypilot.command={program}", f"skypilot.python={sys.executable}"]
    provider = SkypilotProvider(read_config(None, keys), SPEC.label, tmp_path / "islands")
    spec = replace(SPEC, num_gpus=0)
    provider.validate(spec)
    provider.submit(spec, "key")
    give_up_at = time.monotonic() + 30
    while provider.list(SPEC.label)[0].waiting:
        assert time.monotonic() < give_up_at
    provider.logs(SPEC.island, 5)
    provider.cancel(SPEC.island)
    scripted.stop(program.parent)
    return program.parent / "calls"


def test_task_and_calls_are_taken_by_skypilot_itself(dry_run, calls, tmp_path):
    wheel = tmp_path / "atoll-1.whl"
    wheel.touch()
    places = 'skypilot.places=["aws/us-east-1", "gcp"]'
    wanted = [
        'any_of=["H100:8"]',
        "disk_gb=300",
        f"wheel={wheel}",
        "setup=echo ready",
        "memory_gb=64",
    ]
    config = read_config(None, [places, *(f"skypilot.{key}" for key in wanted)])
    task = task_of(config, SPEC, "key", wheel)
    path = tmp_path / "task.yaml"
    path.write_text(json.dumps(task))
    told = dry_run(path, calls)
    assert told["order"] == [
        ["AWS", "us-east-1", True, {"H100": 8}, 300],
        ["GCP", None, True, {"H100": 8}, 300],
        ["AWS", "us-east-1", False, {"H100": 8}, 300],
        ["GCP", None, False, {"H100": 8}, 300],
    ]
    assert told["chosen"] == ["AWS", "p5.48xlarge"]  # the first, although others cost less
    assert told["labels"] == [task["resources"]["labels"]] * 4
    assert told["autostop"] == [{"idle_minutes": 10, "down": True}] * 4
    assert told["num_nodes"] == 2
    assert told["files"] == task["file_mounts"]
    assert (told["run"], told["setup"]) == (task["run"], task["setup"])
    launched = [call for call in told["calls"] if call["command"] == "launch"]
    assert [(call["dryrun"], call["async_call"]) for call in launched] == [
        ("True", "False"),
        ("False", "True"),
    ]
    assert {call["command"] for call in told["calls"]} == {
        *("launch", "status", "queue", "logs", "down", "cancel"),
    }
