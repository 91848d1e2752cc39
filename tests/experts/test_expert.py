import json
from dataclasses import asdict, replace

import numpy as np
import torch

from atoll.sizes import Sizes
from atoll.types import Role
from experts.condition import Conditioning
from experts.expert import expert_task
from partition.batch import Batch
from partition.text import HashedNgrams


def task_of(run, role=Role.EXPERT, number=0):
    spec = run.assignment(role, number=number).spec
    return expert_task(run.config, spec, run.partition)


def test_experts_share_the_batch_the_monolith_has_alone(make_run):
    run = make_run(training={"batch_size": 13})
    assert [task_of(run, number=index).training.batch_size for index in (0, 1)] == [7, 6]
    assert task_of(run, Role.MONOLITH).training.batch_size == 13


def test_experts_may_share_the_batch_by_the_size_of_their_clusters(make_run):
    run = make_run(training={"share": "proportional", "batch_size": run_samples(make_run())})
    sizes = [shard_set.num_samples for shard_set in run.partition.shard_sets]
    assert [task_of(run, number=index).training.batch_size for index in (0, 1)] == sizes


def run_samples(run):
    return run.partition.num_samples


def test_expert_reads_its_cluster_and_the_monolith_all(run):
    assert task_of(run, number=1).clusters == (1,)
    assert task_of(run, Role.MONOLITH).clusters == (0, 1)


def test_about_of_a_task_survives_json_and_tells_its_sizes(run):
    about = json.loads(json.dumps(task_of(run).about))
    assert Sizes(**about["sizes"]) == Sizes(16, 1, 2, 4)
    assert about["conditioning"] == {"kind": "class", "size": 10, "encoder": "", "tokens": 0}
    assert asdict(task_of(run).noising.conditioning) == about["conditioning"]


def test_experts_begin_with_weights_of_their_own(run):
    one, same, other = (task_of(run, number=index).build() for index in (0, 0, 1))
    first = [network.x_embedder.proj.weight for network in (one, same, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def batch_of(captions=None):
    num = 3 if captions is None else len(captions)
    numbers = np.zeros(num, np.int64)
    return Batch(np.zeros((num, 8, 8, 1), np.uint8), numbers, numbers, captions, numbers)


def grids_of(tasks, batch):
    """The grids of some tasks, and what the network was asked for them."""
    drawn = []

    def field(x_t, t, cond):
        drawn.append(cond)
        return torch.zeros_like(x_t)

    network = tasks[0].build()
    network.forward = field
    return [task.grid(network, batch) for task in tasks], drawn[0]


def test_grid_draws_one_noise_for_every_job_and_classes_in_turn(run):
    grids, asked = grids_of([task_of(run, number=index) for index in (0, 1)], batch_of())
    assert torch.equal(grids[0], grids[1])
    assert grids[0].shape == (64, 1, 8, 8)
    assert asked.tolist() == [row % 10 for row in range(64)]


def test_grid_of_an_expert_told_captions_asks_for_those_of_its_samples(run):
    task, captions = task_of(run), ("a lion", "a crab", "")
    encoder = HashedNgrams(16)
    noising = replace(
        task.noising, conditioning=Conditioning("text", 16, encoder.name), encoder=encoder
    )
    (grid,), asked = grids_of([replace(task, noising=noising)], batch_of(captions))
    assert grid.shape == (64, 1, 8, 8)
    expected = encoder.encode([captions[row % 3] for row in range(64)])
    assert np.array_equal(asked.numpy(), expected)
