"""The loss on samples held out: of the same points, whoever asks, and when."""

import dataclasses

import numpy as np
import pytest
import torch

from atoll.node_cache import NodeCache
from atoll.parallel_section import ParallelSection
from atoll.types import Role
from experts.engines import engine_of
from experts.expert import expert_task
from experts.objectives import Diffusion
from experts.parallel.mesh import Mesh
from experts.task import Examples
from experts.watching.held_out import Examination
from partition.reader import ShardReader
from router.task import router_task
from tests.ranks import ranks

CPU = torch.device("cpu")


@pytest.fixture
def measured(make_run):
    """A run that holds 16 samples of each cluster out, and what it asks networks of a job."""
    run = make_run(training={"held_out": 16})

    def ask(role, number=0, make=expert_task, seed=0):
        task = make(run.config, run.assignment(role, number=number).spec, run.partition)
        cache = NodeCache(run.folder / "shards")
        reader = ShardReader(run.store, run.partition, task.clusters, cache, seed, held_out=16)
        return task, Examination(task, reader.held_out(), CPU)

    return ask


def test_network_that_says_nothing_has_the_mean_square_of_the_velocities(measured):
    _, examination = measured(Role.EXPERT)
    found = examination(lambda x_t, t, cond: torch.zeros_like(x_t))
    target = examination._examples.target
    assert found.loss == pytest.approx(float((target**2).mean()), rel=1e-6)
    assert found.loss == pytest.approx(np.mean(found.by_time), rel=1e-6)  # quarters of one size


def test_times_are_spread_evenly_and_the_loss_is_told_by_their_quarters(measured):
    _, examination = measured(Role.MONOLITH)
    for_cluster = (torch.arange(16) + 0.5) / 16
    assert torch.equal(examination._examples.t, for_cluster.repeat(2))
    answers = list(examination._examples.target)

    def off_by_its_time(x_t, t, cond):
        known = torch.stack([answers.pop(0) for _ in t])
        return known + t.reshape(-1, 1, 1, 1)

    found = examination(off_by_its_time)
    expected = [float((quarter**2).mean()) for quarter in for_cluster.split(4)]
    assert found.by_time == pytest.approx(expected, rel=1e-5)


def test_network_that_tells_the_noise_is_measured_by_the_velocity(measured):
    asked, _ = measured(Role.EXPERT)
    noising = dataclasses.replace(asked.noising, objective=Diffusion("epsilon", "cosine"))
    task = dataclasses.replace(asked, noising=noising)
    x_t, target = torch.randn(2, 16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    t = torch.linspace(0.05, 0.95, 16)
    at = t.reshape(-1, 1, 1, 1)

    def off_by_a_tenth(z, s, cond):
        return x_t + (1 - at) * target + 0.1

    found = task.measure(off_by_a_tenth, Examples(x_t, t, None, target))
    torch.testing.assert_close(found, (0.1 / (1 - t)) ** 2, rtol=1e-3, atol=0)


def test_monolith_and_experts_are_measured_by_the_same_points_whatever_the_seed(measured):
    _, whole = measured(Role.MONOLITH)
    parts = [measured(Role.EXPERT, number, seed=7)[1] for number in (0, 1)]
    for name in ("x_t", "t", "target"):
        both = torch.cat([getattr(part._examples, name) for part in parts])
        assert torch.equal(both, getattr(whole._examples, name))


def test_router_is_measured_by_the_cluster_it_should_name(measured):
    task, examination = measured(Role.ROUTER, make=router_task)
    found = examination(task.build())
    assert found.loss == pytest.approx(np.log(2), abs=0.3)
    undecided = examination(lambda x_t, t, cond: torch.zeros(len(t), 2))
    assert undecided.loss == pytest.approx(np.log(2), rel=1e-6)


def asked(run, layout, num):
    """What an island finds in a layout, and how many rows this process asked its network."""
    task = expert_task(run.config, run.assignment().spec, run.partition)
    reader = ShardReader(
        run.store, run.partition, task.clusters, NodeCache(run.folder / "shards"), 0, held_out=15
    )
    section = ParallelSection(**layout)
    mesh = Mesh(section.over(num), torch.distributed.get_rank() if num > 1 else 0)
    network = task.build()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # at the start it answers nothing
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    engine = engine_of(network, task.loss, task.training, mesh, section)
    examination, rows = Examination(task, reader.held_out(), CPU, mesh), []

    def counting(average):
        def ask(x_t, t, cond):
            rows.append(len(t))
            return average(x_t, t, cond)

        return examination(ask)

    found = engine.with_average(counting, everywhere=True)
    return found.loss, *found.by_time, sum(rows)


def test_processes_that_share_batches_share_the_samples_held_out_and_find_the_same(
    make_run, tmp_path
):
    run = make_run(expert={"depth": 2})
    *expected, every = asked(run, {}, 1)
    assert every == 15
    with ranks(2, tmp_path) as pair:
        for way, num in (("data", 8), ("shard", 8), ("pipeline", 15)):
            for *found, rows in pair.call(asked, run, {way: 2}, 2):
                assert found == pytest.approx(expected, rel=1e-6)
                assert rows == num
