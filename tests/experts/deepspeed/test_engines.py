"""DeepSpeed's layouts learn what one process does, and go on from each other's snapshots."""

import math
from dataclasses import replace

import pytest
import torch

from tests.experts.parallel import scenes
from tests.experts.parallel.test_layouts import assert_same

ZERO_0, ZERO_1 = "schedule=deepspeed", "schedule=deepspeed,sharding=zero-1"
# Layout, processes, and blocks of the network: ZeRO-3's hooks make every one of them dear.
LAYOUTS = [
    ("shard=2,sharding=zero-1", 2, 2),
    ("shard=2,sharding=zero-2", 2, 2),
    ("shard=2,sharding=zero-3", 2, 2),
    (f"pipeline=2,{ZERO_0}", 2, 2),
    ("shard=4,sharding=zero-1", 4, 2),
    ("shard=4,sharding=zero-2", 4, 2),
    ("shard=4,sharding=zero-3", 4, 2),
    (f"pipeline=2,data=2,{ZERO_0}", 4, 2),
    (f"pipeline=2,shard=2,{ZERO_1}", 4, 2),
    (f"pipeline=4,{ZERO_0}", 4, 4),
]
CHAINS = [
    [("shard=2,sharding=zero-3", 2), ("", 1), (f"pipeline=2,shard=2,{ZERO_1}", 4)],
    [("", 1), (f"pipeline=2,{ZERO_0}", 2), ("shard=2,sharding=zero-3", 2)],
]


def deep(depth):
    return replace(scenes.SIZES, depth=depth)


@pytest.fixture(scope="module")
def serial():
    return {depth: scenes.play("", 1, sizes=deep(depth)) for depth in (2, 4)}


def played(parallel, num, depth, *given):
    forget()
    return scenes.play(parallel, num, *given, sizes=deep(depth), accumulation=2)


def played_jointly(parallel, num):
    forget()
    return scenes.play_jointly(parallel, num)


def played_videos(parallel, num):
    forget()
    return scenes.play_video(parallel, num, 2)


def played_listening(parallel, num):
    forget()
    return scenes.play_listening(parallel, num)


def played_routed(parallel, num):
    forget()
    return scenes.play_routed(parallel, num)


def played_sizes(parallel, num):
    forget()
    return scenes.play_sizes(parallel, num)


def drawn(parallel, num):
    forget()
    return scenes.draw(parallel, num)


def forget():
    """A pipeline's groups outlive its engine in DeepSpeed; a trainer has one engine alone."""
    from deepspeed.utils import groups

    groups.mpu = None


@pytest.mark.parametrize(("parallel", "num", "depth"), LAYOUTS)
def test_processes_under_deepspeed_learn_what_one_does(groups, serial, parallel, num, depth):
    assert_same(serial[depth], groups[num].call(played, parallel, num, depth)[0])


def test_pipeline_under_deepspeed_learns_what_one_process_does_of_image_and_text_together(groups):
    two = groups[2].call(played_jointly, f"pipeline=2,{ZERO_0}", 2)[0]
    assert_same(scenes.play_jointly("", 1), two)


def test_pipeline_learns_what_one_process_does_of_videos(groups):
    two = groups[2].call(played_videos, f"pipeline=2,{ZERO_0}", 2)[0]
    assert_same(scenes.play_video("", 1, 2), two)


def test_pipeline_learns_what_one_process_does_of_image_looking_at_words(groups):
    two = groups[2].call(played_listening, f"pipeline=2,{ZERO_0}", 2)[0]
    assert_same(scenes.play_listening("", 1), two)


def test_processes_under_deepspeed_learn_what_one_does_if_tokens_pass_by_blocks(groups):
    two = groups[2].call(played_routed, "shard=2,sharding=zero-2", 2)[0]
    assert_same(scenes.play_routed("", 1), two)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_processes_under_deepspeed_learn_what_one_does_of_images_of_several_shapes(groups, stage):
    two = groups[2].call(played_sizes, f"shard=2,sharding=zero-{stage}", 2)[0]
    assert_same(scenes.play_sizes("", 1), two)


@pytest.mark.parametrize("chain", CHAINS)
def test_steps_interrupted_twice_and_resumed_in_other_layouts_equal_uninterrupted(
    groups, serial, chain
):
    told, snapshot = [], None
    for (parallel, num), steps in zip(chain, (7, 6, 7), strict=True):
        if num == 1:
            some, snapshot = scenes.play(parallel, num, snapshot, steps, sizes=deep(2))
        else:
            some, snapshot = groups[num].call(played, parallel, num, 2, snapshot, steps)[0]
        told += some
    assert_same(serial[2], (told, snapshot))


@pytest.mark.parametrize(
    "parallel", ["shard=2,sharding=zero-1", "shard=2,sharding=zero-3", f"pipeline=2,{ZERO_0}"]
)
def test_average_under_deepspeed_answers_as_that_of_one_process(groups, parallel):
    expected = scenes.draw("", 1)
    answer = groups[2].call(drawn, parallel, 2)[0]
    torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-6)


def blown_up(parallel, num):
    """What a step without finite gradients tells, and whether it left the weights alone."""
    forget()
    engine, mesh = scenes.engine(parallel, num, torch.distributed.get_rank(), sizes=deep(1))
    engine.step([scenes.examples(0, mesh.rows)])
    before = engine.snapshot()
    broken = scenes.examples(1, mesh.rows)
    broken.target.fill_(float("nan"))
    stats = engine.step([broken])
    after = engine.snapshot().network
    kept = all(torch.equal(part, after[key]) for key, part in before.network.items())
    return float(stats.loss), float(stats.grad_norm), kept


@pytest.mark.parametrize("stage", [1, 3])
def test_step_without_finite_gradients_is_skipped_and_told(groups, stage):
    loss, grad_norm, kept = groups[2].call(blown_up, f"shard=2,sharding=zero-{stage}", 2)[0]
    assert math.isnan(loss)
    assert grad_norm == math.inf
    assert kept
