"""DeepSpeed's layouts learn what one process does, and go on from each other's snapshots."""

import pytest
import torch

from tests.experts.parallel import scenes
from tests.experts.parallel.test_layouts import assert_same

PIECES = {"accumulation": 2}
ZERO_0, ZERO_1 = "schedule=deepspeed", "schedule=deepspeed,sharding=zero-1"
LAYOUTS = [
    ("shard=2,sharding=zero-1", 2),
    ("shard=2,sharding=zero-2", 2),
    ("shard=2,sharding=zero-3", 2),
    (f"pipeline=2,{ZERO_0}", 2),
    ("shard=4,sharding=zero-1", 4),
    ("shard=4,sharding=zero-2", 4),
    ("shard=4,sharding=zero-3", 4),
    (f"pipeline=4,{ZERO_0}", 4),
    (f"pipeline=2,data=2,{ZERO_0}", 4),
    (f"pipeline=2,shard=2,{ZERO_1}", 4),
]


@pytest.fixture(scope="module")
def serial():
    return scenes.play("", 1)


def forget():
    """A pipeline's groups outlive its engine in DeepSpeed; a trainer has one engine alone."""
    from deepspeed.utils import groups

    groups.mpu = None


def drawn(parallel, num):
    forget()
    return scenes.draw(parallel, num)


def play(groups, parallel, num, *given):
    if num == 1:
        return scenes.play(parallel, num, *given)
    return groups[num].call(played, parallel, num, *given)[0]


def played(parallel, num, *given):
    forget()
    return scenes.play(parallel, num, *given, **PIECES)


@pytest.mark.parametrize(("parallel", "num"), LAYOUTS)
def test_processes_under_deepspeed_learn_what_one_does(groups, serial, parallel, num):
    assert_same(serial, play(groups, parallel, num))


@pytest.mark.parametrize(
    "layouts",
    [
        [("shard=2,sharding=zero-3", 2), ("", 1), (f"pipeline=2,shard=2,{ZERO_1}", 4)],
        [("", 1), (f"pipeline=2,{ZERO_0}", 2), ("shard=2,sharding=zero-3", 2)],
        [("shard=4,sharding=zero-2", 4), ("shard=2,sharding=zero-1", 2), ("", 1)],
    ],
)
def test_steps_interrupted_twice_and_resumed_in_other_layouts_are_the_serial_ones(
    groups, serial, layouts
):
    told, snapshot = [], None
    for (parallel, num), steps in zip(layouts, (7, 6, 7), strict=True):
        some, snapshot = play(groups, parallel, num, snapshot, steps)
        told += some
    assert_same(serial, (told, snapshot))


@pytest.mark.parametrize(
    ("parallel", "num"),
    [("shard=2,sharding=zero-1", 2), ("shard=2,sharding=zero-3", 2), (f"pipeline=2,{ZERO_0}", 2)],
)
def test_average_under_deepspeed_draws_what_one_process_draws(groups, parallel, num):
    image = groups[num].call(drawn, parallel, num)[0]
    torch.testing.assert_close(image, scenes.draw("", 1), rtol=1e-5, atol=1e-6)
