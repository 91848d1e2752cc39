import time

import pytest
import torch

from atoll.flops import TRAINING
from atoll.types import Role
from experts.expert import expert_task
from experts.watching.meter import Meter


@pytest.fixture
def task(run):
    return expert_task(run.config, run.assignment(Role.MONOLITH).spec, run.partition)


def test_meter_reads_pace_work_memory_and_waiting_since_the_reading_before(task, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    meter = Meter(task, torch.device("cpu"), num_devices=2, cursor=12)
    with meter.waiting():
        now[0] += 1
    now[0] += 3
    reading = meter.read(cursor=36)
    assert reading.samples_per_s == 6
    assert reading.tflops_per_s == pytest.approx(6 * TRAINING * task.flops / 2 / 1e12)
    assert reading.wait_share == 0.25
    assert reading.mfu is None  # nobody knows what this processor could do at best
    assert reading.memory_bytes > 10**7
    now[0] += 2
    reading = meter.read(cursor=40)
    assert (reading.samples_per_s, reading.wait_share) == (2, 0)
