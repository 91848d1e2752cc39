"""What curves are drawn on, as those who read it find it."""

import json
import os
import subprocess
import sys

import pytest

from atoll.types import Assignment, JobSpec, Lease, Role
from experts.watching.canvas import open_canvas

# Draws with W&B offline, and reads what it keeps to send later: a log as LevelDB has them.
WANDB = """
import json, struct, sys
import numpy as np
from pathlib import Path
from atoll.errors import BadInput
from atoll.types import Assignment, JobSpec, Lease, Role
from experts.watching.canvas import open_canvas

spec = JobSpec("expert-0", Role.EXPERT, 0, sys.argv[1], 10, "d")
for epoch, loss in ((1, 0.5), (2, 0.25)):
    with open_canvas("wandb", Assignment(Lease("expert-0", "i", epoch, 9.0), spec, None), 0) as on:
        on.plot({"loss": loss}, 20)
        on.hang("samples", np.zeros((8, 8, 3), np.uint8), 20)

from wandb.proto.wandb_internal_pb2 import Record

def records(data, at=7, begun=b""):
    while at + 7 <= len(data):
        _, size, kind = struct.unpack_from("<IHB", data, at)
        begun += data[at + 7 : at + 7 + size]
        at += 7 + size
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
        if kind in {1, 4}:  # whole, or the last part of one
            yield Record.FromString(begun)
            begun = b""

import os, wandb
wandb.teardown()  # all is written
told = []
for path in sorted(Path(sys.argv[1]).rglob("run-*.wandb")):
    for record in records(path.read_bytes()):
        if record.WhichOneof("record_type") == "run":
            told.append([record.run.project, record.run.run_group, record.run.display_name])
        for item in record.history.item:
            name = item.key or "/".join(item.nested_key)
            if name in {"loss", "_step"}:
                told.append([name, json.loads(item.value_json)])

del os.environ["WANDB_MODE"], os.environ["WANDB_API_KEY"]
try:
    with open_canvas("wandb", Assignment(Lease("expert-0", "i", 3, 9.0), spec, None), 0):
        pass
except BadInput as error:
    told.append(str(error))
print(json.dumps(told))
"""


KEY = "0123456789" * 4


@pytest.fixture
def assignment(tmp_path):
    spec = JobSpec("expert-0", Role.EXPERT, 0, str(tmp_path / "digits"), 10, "d")
    return Assignment(Lease("expert-0", "island-1", 1, 10.0), spec, None)


def offline(folder):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    return {**kept, "HOME": str(folder), "WANDB_MODE": "offline", "WANDB_API_KEY": KEY}


def test_wandb_keeps_a_run_for_each_lease_but_no_key_and_wants_one_to_send_them(tmp_path):
    command = [sys.executable, "-c", WANDB, str(tmp_path / "digits")]
    called = subprocess.run(
        command, check=True, capture_output=True, text=True, env=offline(tmp_path)
    )
    told = json.loads(called.stdout)
    for epoch, loss in ((1, 0.5), (2, 0.25)):
        assert ["atoll", "digits expert-0", f"expert-0 epoch {epoch}"] in told
        assert ["loss", loss] in told
    assert ["_step", 20] in told
    assert told[-1].startswith('training.board = "wandb" cannot be used: No API key configured.')
    assert told[-1].endswith("; or set WANDB_MODE=offline for the agents, to send it later")
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in kept)
    assert not [path for path in kept if KEY.encode() in path.read_bytes()]


def test_wandb_that_is_not_installed_is_refused_with_the_extra_to_install(assignment, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with (
        pytest.raises(Exception, match=r"needs wandb; run pip install 'atoll\[wandb\]'"),
        open_canvas("wandb", assignment, 0),
    ):
        pass


def test_board_of_none_imports_and_leaves_nothing(assignment, tmp_path):
    with open_canvas("none", assignment, 0) as canvas:
        canvas.plot({"loss": 0.5}, 20)
    assert list(tmp_path.iterdir()) == []
