import json

import pytest
import torch

from experts.engine import Stats
from experts.history import History


def stats(loss):
    return Stats(torch.tensor(loss), torch.tensor(2 * loss))


def test_mark_averages_the_recent_steps_alone():
    history = History(window=2)
    for loss in (9.0, 1.0, 3.0):
        history.add(stats(loss))
    point = history.mark(step=3, epoch=1, samples_per_s=5.0)
    assert (point.loss, point.grad_norm) == (2.0, 4.0)
    assert history.points == [point]


def test_history_read_back_goes_on_exactly():
    history = History(window=3)
    history.add(stats(0.1))
    history.mark(step=1, epoch=1, samples_per_s=5.0)
    history.add(stats(0.7))
    again = History(window=3, saved=json.loads(json.dumps(history.as_json())))
    for one in (history, again):
        one.add(stats(1 / 3))
    assert again.mark(3, 2, 1.0) == history.mark(3, 2, 1.0)
    assert again.points == history.points
    assert again.points[-1].loss == pytest.approx((0.1 + 0.7 + 1 / 3) / 3)
