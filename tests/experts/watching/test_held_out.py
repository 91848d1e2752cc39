"""The loss on samples held out: of the same points, whoever asks, and when."""

import dataclasses

import numpy as np
import pytest
import torch

from atoll.jobs import job_specs
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
from tests.experts.stirred import stirred
from tests.partition.bucketed_run import BucketedRun
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


def questions(examination):
    """All of them, of samples of one shape."""
    (sheet,) = examination._sheets
    return sheet.own


def test_network_that_says_nothing_has_the_mean_square_of_the_velocities(measured):
    _, examination = measured(Role.EXPERT)
    found = examination(lambda x_t, t, cond: torch.zeros_like(x_t))
    target = questions(examination).target
    assert found.loss == pytest.approx(float((target**2).mean()), rel=1e-6)
    assert found.loss == pytest.approx(np.mean(found.by_time), rel=1e-6)  # quarters of one size


def test_times_are_spread_evenly_and_the_loss_is_told_by_their_quarters(measured):
    _, examination = measured(Role.MONOLITH)
    for_cluster = (torch.arange(16) + 0.5) / 16
    assert torch.equal(questions(examination).t, for_cluster.repeat(2))
    answers = list(questions(examination).target)

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
        both = torch.cat([getattr(questions(part), name) for part in parts])
        assert torch.equal(both, getattr(questions(whole), name))


def test_router_is_measured_by_the_cluster_it_should_name(measured):
    task, examination = measured(Role.ROUTER, make=router_task)
    found = examination(task.build())
    assert found.loss == pytest.approx(np.log(2), abs=0.3)
    undecided = examination(lambda x_t, t, cond: torch.zeros(len(t), 2))
    assert undecided.loss == pytest.approx(np.log(2), rel=1e-6)


def asked(task, samples, layout, num):
    """What an island finds in a layout, and how many rows this process asked its network."""
    section = ParallelSection(**layout)
    mesh = Mesh(section.over(num), torch.distributed.get_rank() if num > 1 else 0)
    engine = engine_of(stirred(task.build()), task.loss, task.training, mesh, section)
    examination, rows = Examination(task, samples, CPU, mesh), []

    def counting(average):
        def ask(x_t, t, cond):
            rows.append(len(t))
            return average(x_t, t, cond)

        return examination(ask)

    found = engine.with_average(counting, everywhere=True)
    return found.loss, *found.by_time, sum(rows)


def test_processes_that_share_batches_share_the_samples_held_out_and_find_the_same(
    make_run, bucketed, tmp_path
):
    run = make_run(expert={"depth": 2})
    task = expert_task(run.config, run.assignment().spec, run.partition)
    reader = ShardReader(
        run.store, run.partition, task.clusters, NodeCache(run.folder / "shards"), 0, held_out=15
    )
    samples = reader.held_out()
    *expected, every = asked(task, samples, {}, 1)
    assert every == 15
    several, wide = examined(bucketed, Role.MONOLITH)[0], bucketed.reader(held_out=12).held_out()
    *others, whole = asked(several, wide, {}, 1)
    assert whole == 24
    with ranks(2, tmp_path) as pair:
        for way, num in (("data", 8), ("shard", 8), ("pipeline", 15)):
            for *found, rows in pair.call(asked, task, samples, {way: 2}, 2):
                assert found == pytest.approx(expected, rel=1e-6)
                assert rows == num
        for way in ("data", "shard"):
            for *found, rows in pair.call(asked, several, wide, {way: 2}, 2):
                assert found == pytest.approx(others, rel=1e-6)
                assert rows == sum(-(-len(each.images) // 2) for each in wide)


@pytest.fixture(scope="module")
def bucketed(tmp_path_factory):
    """A run whose images are of three sizes, of which it holds 12 of each cluster out."""
    keys = {"training": {"held_out": 12, "batch_size": 8}, "expert": {"depth": 2}}
    return BucketedRun.written(tmp_path_factory.mktemp("buckets"), **keys)


def examined(run, role, number=0, mesh=None):
    (spec, *_) = job_specs(run.config, run.made.digest, [role])[number:]
    make = router_task if role is Role.ROUTER else expert_task
    task = make(run.config, spec, run.made)
    batches = run.reader(list(task.clusters), held_out=12).held_out()
    return task, Examination(task, batches, CPU, mesh)


def test_samples_of_several_shapes_share_the_times_of_their_cluster_evenly(bucketed):
    _, examination = examined(bucketed, Role.EXPERT, bucketed.dark)
    sheets = examination._sheets
    assert {sheet.own.x_t.shape[1:] for sheet in sheets} == {(3, 8, 8), (3, 4, 12)}
    times = torch.cat([sheet.own.t for sheet in sheets])
    assert torch.equal(times.sort().values, (torch.arange(12) + 0.5) / 12)
    for sheet in sheets:  # as far apart as can be: no two within half of an even step
        assert sheet.own.t.sort().values.diff().min() > 0.5 / sheet.num


def test_monolith_and_experts_are_measured_by_the_same_points_of_all_shapes(bucketed):
    _, whole = examined(bucketed, Role.MONOLITH)
    parts = [examined(bucketed, Role.EXPERT, number)[1] for number in (0, 1)]
    for sheet in whole._sheets:
        shape = sheet.own.x_t.shape[1:]
        same = [own for part in parts for own in part._sheets if own.own.x_t.shape[1:] == shape]
        for name in ("x_t", "t", "target"):
            both = torch.cat([getattr(own.own, name) for own in same])
            assert torch.equal(both, getattr(sheet.own, name))


@pytest.mark.parametrize("role", [Role.MONOLITH, Role.ROUTER])
def test_samples_of_several_shapes_count_alike(bucketed, role):
    task, examination = examined(bucketed, role)
    network = stirred(task.build())
    found = examination(network)
    own = [sheet.own for sheet in examination._sheets]
    with torch.no_grad():
        losses = torch.cat([task.measure(network, each) for each in own])
    assert len(losses) == 24
    assert found.loss == pytest.approx(float(losses.double().mean()), rel=1e-6)
    times = torch.cat([each.t for each in own])
    last = float(losses[times > 0.75].double().mean())
    assert found.by_time[3] == pytest.approx(last, rel=1e-6)
