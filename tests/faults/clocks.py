"""What befalls clocks: the time of day jumps by hours."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.faults.orchestrators import is_no_matter
from tests.faults.scene import LONG, Scene

SOURCE = Path(__file__).parent / "wall_clock.c"
HOUR_S = 3600


def jump(scene: Scene) -> Iterator[None]:
    """Two hours ahead, then three behind, in all processes of the run."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler here, to make a clock that jumps")
    library, ahead = scene.folder / "wall_clock.so", scene.folder / "ahead"
    compiler = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, SOURCE]
    subprocess.run([*compiler, "-ldl"], check=True)
    ahead.write_bytes(struct.pack("q", 0))
    scene.environment.setenv("LD_PRELOAD", str(library))
    scene.environment.setenv("WALL_CLOCK_AHEAD", str(ahead))
    scene.run.steps = 2 * LONG
    scene.run.cold = True  # a library is loaded when a program begins
    yield
    scene.at_work("expert-0")
    # Its agent tells of every commit that is seen here.
    island = scene.run.jobs()["expert-0"].island
    for jump_s in (2 * HOUR_S, -3 * HOUR_S):
        reached = scene.run.committed("expert-0")
        scene.until(lambda reached=reached: scene.run.committed("expert-0") >= reached + 20)
        with ahead.open("r+b") as file:
            file.write(struct.pack("q", jump_s))
    yield
    log = scene.run.agent_log(island).splitlines()
    logged_at = [datetime.fromisoformat(json.loads(line)["at"]).timestamp() for line in log]
    for times in ([event.at for event in scene.run.events()], logged_at):
        assert max(times) > time.time() + HOUR_S
        assert times[-1] < time.time() - HOUR_S
    is_no_matter(scene)
