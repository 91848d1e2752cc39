import json

import pytest
import torch

from atoll.types import Vitals
from experts.engine import Stats
from experts.watching.held_out import HeldOut
from experts.watching.history import History
from experts.watching.meter import Reading

READING = Reading(
    samples_per_s=5.0, tflops_per_s=0.5, mfu=None, memory_bytes=10**9, wait_share=0.01
)


def stats(loss):
    return Stats(torch.tensor(loss), torch.tensor(2 * loss))


def test_mark_averages_the_recent_steps_alone():
    history = History(window=2)
    for loss in (9.0, 1.0, 3.0):
        history.add(stats(loss))
    point = history.mark(step=3, epoch=1, reading=READING)
    assert (point.loss, point.grad_norm) == (2.0, 4.0)
    assert history.points == [point]


def test_history_read_back_goes_on_exactly():
    history = History(window=3)
    history.add(stats(0.1))
    history.mark(step=1, epoch=1, reading=READING)
    history.add(stats(0.7))
    again = History(window=3, saved=json.loads(json.dumps(history.as_json())))
    for one in (history, again):
        one.add(stats(1 / 3))
    assert again.mark(3, 2, READING) == history.mark(3, 2, READING)
    assert again.points == history.points
    assert again.points[-1].loss == pytest.approx((0.1 + 0.7 + 1 / 3) / 3)


def test_history_tells_the_held_out_loss_as_it_was_measured_last():
    history = History(window=1)
    history.add(stats(0.5))
    history.mark(1, 1, READING, HeldOut(0.25, (0.1, 0.2, 0.3, 0.4)))
    history.mark(2, 1, READING)
    again = History(window=1, saved=json.loads(json.dumps(history.as_json())))
    assert again.vitals == Vitals(0.5, None, 10**9, 0.01, grad_norm=1.0, held_out=0.25)
    first, second = again.points
    assert first.curves["held_out"] == 0.25
    assert first.curves["held_out/3"] == 0.4
    assert second.curves == {
        "loss": 0.5,
        "grad_norm": 1.0,
        "samples_per_s": 5.0,
        "tflops_per_s": 0.5,
        "memory_bytes": 10**9,
        "wait_share": 0.01,
    }
