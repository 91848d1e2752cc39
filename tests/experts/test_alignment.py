import dataclasses

import pytest
import torch

from atoll.errors import ConfigError
from atoll.expert_section import ExpertSection
from atoll.parallel_fit import refuse_layout
from atoll.parallel_section import ParallelSection
from atoll.sizes import PRESETS, Sizes
from atoll.training_section import TrainingSection
from experts.alignment import aligner_flops, alignment_loss, parted
from experts.condition import Conditioning
from experts.expert import expert_task
from experts.flow import flow_loss
from experts.load import load_expert
from experts.networks import build_network
from experts.task import Place
from experts.weighing import weighted_loss
from tests.experts.test_loop import After, assert_same

SIZES = {"DiT": Sizes(16, 3, 2, 4), "MMDiT": PRESETS["MMDiT-T"]}
SHAPE, DIMS = (1, 8, 8), 5


def network(kind, aligned=None):
    made = build_network(SIZES[kind], Conditioning("class", 3), SHAPE, seed=0, aligned=aligned)
    for each in made.parameters():  # blocks begin as identities, which would hide their order
        torch.nn.init.normal_(each, std=0.1, generator=torch.Generator().manual_seed(each.numel()))
    return made


def inputs():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, *SHAPE, generator=generator), torch.rand(4), torch.arange(4) % 3


@pytest.mark.parametrize("kind", SIZES)
def test_aligned_network_tells_the_velocity_of_a_plain_one(kind):
    plain, made = network(kind), network(kind, (DIMS, 1))
    given = inputs()
    wanted = plain(*given)
    velocity, said = parted(made(*given), SHAPE)
    torch.testing.assert_close(velocity, wanted, rtol=0, atol=1e-6)
    assert said.shape == (4, DIMS)
    torch.testing.assert_close(made.eval()(*given), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", SIZES)
def test_alignment_moves_the_blocks_before_it_alone(kind):
    made = network(kind, (DIMS, 2))
    _, said = parted(made(*inputs()), SHAPE)
    said.square().sum().backward()
    reached = [any(each.grad is not None and each.grad.any() for each in block.parameters())
               for block in made.blocks]  # fmt: skip
    assert reached == [True, True, False]


def test_alignment_loss_is_one_less_the_cosine():
    said = torch.tensor([[3.0, 0], [0, 2], [-1, 0], [1, 1]])
    features = torch.tensor([[1.0, 0], [1, 0], [4, 0], [2, 0]])
    wanted = torch.tensor([0, 1, 2, 1 - 0.5**0.5])
    torch.testing.assert_close(alignment_loss(said, features), wanted)


def test_aligned_loss_is_the_flows_and_the_weighed_alignment(make_run):
    run = make_run(training={"align": 0.3}, expert={"depth": 2})
    task = expert_task(run.config, run.assignment().spec, run.partition)
    generator = torch.Generator().manual_seed(0)
    output, target = torch.randn(2, 3, 64 + task.feature_dims, generator=generator)
    (velocity, said), (wanted, features) = (parted(each, task.shape) for each in (output, target))
    expected = flow_loss(velocity, wanted) + 0.3 * alignment_loss(said, features)
    torch.testing.assert_close(task.loss(output, target), expected)
    torch.testing.assert_close(task.loss(velocity, wanted), flow_loss(velocity, wanted))


def test_aligned_loss_of_weighed_rows_weighs_the_flow_and_not_the_alignment(make_run):
    run = make_run(training={"align": 0.3, "min_snr": 5.0}, expert={"depth": 2})
    task = expert_task(run.config, run.assignment().spec, run.partition)
    made = task.examples(run.batch(task, 6), 1, Place())
    output = torch.randn(6, 64 + task.feature_dims, generator=torch.Generator().manual_seed(0))
    velocity, said = parted(output, task.shape)
    weighed, features = parted(made.target, (2, 8, 8))
    assert features.shape == (6, task.feature_dims)
    expected = weighted_loss(velocity, weighed) + 0.3 * alignment_loss(said, features)
    torch.testing.assert_close(task.loss(output, made.target), expected)


@pytest.mark.parametrize("min_snr", [0.0, 5.0])
def test_aligned_loss_of_images_of_another_shape_is_that_of_theirs(make_run, min_snr):
    run = make_run(training={"align": 0.3, "min_snr": min_snr}, expert={"depth": 2})
    task = expert_task(run.config, run.assignment().spec, run.partition)
    batch = run.batch(task, 6)
    batch = dataclasses.replace(batch, images=batch.images.repeat(2, axis=2)[:, :4, :12])
    made = task.examples(batch, 1, Place())
    assert made.x_t.shape == (6, 1, 4, 12)
    output = torch.randn(6, 48 + task.feature_dims, generator=torch.Generator().manual_seed(0))
    velocity, said = parted(output, (1, 4, 12))
    wanted, features = parted(made.target, (1 + bool(min_snr), 4, 12))
    flow = weighted_loss(velocity, wanted) if min_snr else flow_loss(velocity, wanted)
    expected = flow + 0.3 * alignment_loss(said, features)
    torch.testing.assert_close(task.loss(output, made.target), expected)


def test_aligned_training_interrupted_equals_uninterrupted_and_paints_without_its_aligner(make_run):
    run = make_run(training={"align": 0.5}, expert={"depth": 2})
    assert run.train(run.assignment(epoch=1))
    assert not run.train(run.assignment(epoch=2), After(9))
    assert run.train(run.assignment(epoch=3, checkpoint=run.published(2)[-1]))
    assert_same(run, run.published(1)[-1], run.published(3)[-1])
    loaded = load_expert(run.store, run.published(3)[-1], run.folder, torch.device("cpu"))
    assert loaded.model.aligner is None


def test_features_of_a_batch_follow_its_velocities_in_the_target(make_run):
    run = make_run(training={"align": 0.5}, expert={"depth": 2})
    task = expert_task(run.config, run.assignment().spec, run.partition)
    plain = dataclasses.replace(task, training=task.training.model_copy(update={"align": 0.0}))
    batch = run.batch(task, 6)
    made, other = (each.examples(batch, 1, Place()) for each in (task, plain))
    velocity, features = parted(made.target, task.shape)
    assert torch.equal(velocity, other.target)
    assert torch.equal(features, torch.from_numpy(batch.features))
    width, dims = task.sizes.width, task.feature_dims
    assert task.flops - plain.flops == aligner_flops(width, dims)
    assert aligner_flops(16, 5) == 2 * (16 * 16 + 16 * 16 + 16 * 5)


@pytest.mark.parametrize(
    ("layout", "training", "words"),
    [
        ({"pipeline": 2}, {"accumulation": 2}, "training.align = 0.5 .*island.parallel.pipeline"),
        ({"sequence": 2}, {}, "island.parallel.sequence = 2"),
        ({}, {"align_depth": 3}, "training.align_depth = 3 leaves no block"),
    ],
)
def test_alignment_that_cannot_look_between_two_blocks_is_refused(layout, training, words):
    with pytest.raises(ConfigError, match=words):
        refuse_layout(
            ParallelSection(**layout), ExpertSection(), TrainingSection(align=0.5, **training)
        )


@pytest.mark.parametrize("depth", [0, 1])
def test_alignment_of_a_network_of_one_block_is_refused(depth):
    with pytest.raises(ConfigError, match=r"training\.align = 0\.5 looks between two blocks"):
        refuse_layout(
            ParallelSection(),
            ExpertSection(depth=1),
            TrainingSection(align=0.5, align_depth=depth),
        )
