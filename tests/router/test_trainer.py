"""The router's training program, as an agent starts it."""

import os
import subprocess
import sys

from atoll import stages
from atoll.config_file import save_config
from atoll.relay import Ended, Listener, Published, write_assignment
from atoll.types import Assignment, CheckpointRef, Lease, Role


def test_trainer_program_makes_the_router_the_loop_makes(trained):
    save_config(trained.store, trained.config)
    spec, work_dir = trained.spec(Role.ROUTER), trained.folder / "work"
    work_dir.mkdir()
    write_assignment(work_dir, Assignment(Lease(spec.name, "island", 9, 10.0), spec, None))

    with subprocess.Popen(
        [sys.executable, "-m", "router.trainer", "--work-dir", str(work_dir)],
        stdin=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        code = process.wait(timeout=240)

    said = list(Listener(work_dir).heard())
    made = [message.checkpoint for message in said if isinstance(message, Published)][-1]
    assert code == 0
    assert said[-1] == Ended(finished=True)
    before = CheckpointRef(**stages.require(trained.store, "route", "sample")["router"])
    weights = [trained.store.get_bytes(f"{ref.key}/ema.safetensors") for ref in (made, before)]
    assert weights[0] == weights[1]
