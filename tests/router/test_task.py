"""The router learns the posterior, with and without the condition."""

import numpy as np
import pytest
import torch

from atoll.config import Config
from atoll.jobs import job_specs
from atoll.sizes import Sizes
from atoll.training_section import TrainingSection
from atoll.types import Role
from experts.condition import Conditioning
from experts.flow import linear_path, seeded
from experts.task import Examples, Place
from experts.torch_engine import TorchEngine
from partition.batch import Batch
from partition.manifest import Partition, ShardSet
from router.calibration import Known, calibrate
from router.gate import LearnedGate
from router.network import build_router
from router.task import router_task

CPU = torch.device("cpu")


def some_partition():
    return Partition(
        digest="p",
        num_samples=40,
        shape=(4, 6, 3),
        class_names=("a", "b"),
        has_captions=True,
        skipped=None,
        centroids="",
        centroids_digest="",
        shard_sets=tuple(ShardSet(k, 10, (5, 5), ()) for k in range(4)),
    )


def task_of(**sections):
    config = Config.model_validate({"router": {"batch_size": 8}, **sections})
    (spec,) = job_specs(config, "p", [Role.ROUTER])
    return router_task(config, spec, some_partition())


def some_batch(size=8):
    return Batch(
        images=np.full((size, 4, 6, 3), 255, np.uint8),
        labels=np.arange(size) % 2,
        clusters=np.arange(size) % 4,
        captions=("a cat",) * size,
        indices=np.arange(size),
    )


def test_router_task_learns_from_all_clusters_by_its_own_section():
    task = task_of(
        router={"batch_size": 8, "steps": 7, "learning_rate": 0.25, "ema_decay": 0.5},
        training={"clip_norm": 3.0, "batch_size": 64},
    )

    assert task.clusters == (0, 1, 2, 3)
    training = task.training
    assert (training.steps, training.batch_size, training.learning_rate) == (7, 8, 0.25)
    assert (training.ema_decay, training.clip_norm) == (0.5, 3.0)


def test_router_is_taught_the_same_whatever_the_recipes_of_experts():
    recipes = {
        "times": "logit-normal",
        "objectives": ["epsilon", "v"],
        "noise_schedule": "cosine",
        "min_snr": 5,
        "immiscible": 8,
        "perturb_condition": 1,
        "align": 0.5,
        "ema_profile": "power",
        "batch_size": 64,
        "learning_rate": 0.1,
    }
    plain, told = task_of(), task_of(training=recipes)
    batch = some_batch()
    first, second = (task.examples(batch, 3, Place()) for task in (plain, told))
    assert all(torch.equal(*pair) for pair in zip(first.inputs, second.inputs, strict=True))
    assert torch.equal(first.target, second.target)
    assert (told.about, told.aligns, told.spec.digest) == (plain.about, False, plain.spec.digest)


def test_router_examples_ask_for_the_cluster_at_all_times():
    task = task_of()

    drawn = [task.examples(some_batch(), step, Place()) for step in range(1, 101)]

    assert torch.equal(drawn[0].target, torch.arange(8) % 4)
    times = torch.cat([examples.t for examples in drawn]).sort().values
    assert (times - torch.linspace(0, 1, len(times))).abs().max() < 1.95 / len(times) ** 0.5


def test_router_examples_drop_the_condition_as_the_experts_do():
    task = task_of(expert={"condition_dropout": 0.25})

    drawn = torch.cat([task.examples(some_batch(), s, Place()).cond for s in range(1, 201)])

    assert abs((drawn == 2).double().mean() - 0.25) < 0.05


def test_router_examples_of_two_processes_are_those_of_one():
    task, batch = task_of(), some_batch()
    whole = task.examples(batch, 3, Place())

    for rank in range(2):
        rows = Place(rank, 2).rows(8)
        fields = (batch.images, batch.labels, batch.clusters, batch.captions, batch.indices)
        part = task.examples(Batch(*(field[rows] for field in fields)), 3, Place(rank, 2))
        assert torch.equal(part.x_t, whole.x_t[rows])
        assert torch.equal(part.t, whole.t[rows])
        assert torch.equal(part.cond, whole.cond[rows])
        assert torch.equal(part.target, whole.target[rows])


@pytest.mark.parametrize("kind", ["class", "text"])
def test_prompt_blind_router_sees_no_condition_yet_fits_experts_that_do(kind):
    told = {"data": {"source": "folder"}, "expert": {"condition": kind}}
    seeing = task_of(**told)
    blind = task_of(**told, router={"batch_size": 8, "condition": False})

    assert seeing.compat == blind.compat
    assert seeing.examples(some_batch(), 1, Place()).cond is not None
    assert blind.examples(some_batch(), 1, Place()).cond is None
    assert blind.about["conditioning"]["kind"] == "none"
    assert blind.build().y_embedder is None


def test_router_loss_is_the_surprise_at_the_own_cluster():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 50.0, 0.0, 0.0]])

    loss = task_of().loss(logits, torch.tensor([2, 1]))

    torch.testing.assert_close(loss, torch.tensor([4.0, 1.0]).log())


def trained_gate(mixture, conditioning, steps=400):
    """A router trained on the mixture by the loss and engine the real one uses."""
    sizes = Sizes(width=32, depth=2, heads=2, patch=1)
    network = build_router(sizes, conditioning, (1, 1, 2), mixture.num_clusters, seed=0)
    training = TrainingSection(batch_size=256, learning_rate=3e-3, ema_decay=0.98)
    engine = TorchEngine(network, task_of().loss, training)
    seen = mixture.conditioning
    for step in range(1, steps + 1):
        generator = seeded(CPU, 1, step)
        x0, cluster, label = mixture.draw(training.batch_size, generator)
        t = torch.rand(len(x0), generator=generator)
        point = linear_path(x0.float(), torch.randn(x0.shape, generator=generator), t)
        cond = seen.drop(label, torch.rand(len(x0), generator=generator) < 0.2)
        engine.step([Examples(point.x_t, t, cond, cluster)])
    return LearnedGate(engine.averaged)


def known(mixture, *, conditional):
    generator = torch.Generator().manual_seed(5)
    for _ in range(8):
        x0, cluster, label = mixture.draw(500, generator)
        cond = label if conditional else mixture.conditioning.null(500, CPU)
        yield Known(x0.float(), cond, cluster)


def risk(gate, mixture, *, conditional):
    batches = known(mixture, conditional=conditional)
    return calibrate(gate, batches, seed=0, num_times=4).cross_entropy


def test_trained_router_comes_close_to_the_least_possible_cross_entropy(mixture):
    gate = trained_gate(mixture, mixture.conditioning)

    for conditional in (True, False):
        least = risk(mixture.gate, mixture, conditional=conditional)
        assert (risk(gate, mixture, conditional=conditional) < least + 0.03).all()


def test_trained_prompt_blind_router_comes_close_to_the_posterior_without_the_class(mixture):
    gate = trained_gate(mixture, Conditioning("none"))

    def blind(x_t, t, cond):
        return mixture.gate(x_t, t, None)

    least = risk(blind, mixture, conditional=True)
    assert (risk(gate, mixture, conditional=True) < least + 0.03).all()
