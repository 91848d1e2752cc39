"""Memory by closed form, and against what torch keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from atoll.errors import BadInput, ConfigError
from atoll.gpus import GPUS, Gpu
from atoll.parallel_section import Layout, parallel_of
from atoll.sizes import Sizes
from atoll.training_section import TrainingSection
from experts.blocks import Block
from experts.condition import Conditioning
from experts.cross_attention import heard_tokens
from experts.dit import build_dit
from experts.task import Examples
from experts.torch_engine import TorchEngine
from orchestrator.planning.layout import Wish, fit
from orchestrator.planning.memory import ALONE, activation_bytes, held
from orchestrator.planning.networks import Network, Told, expert
from orchestrator.planning.traffic import sent_bytes
from orchestrator.planning.work import Part

# 1000 parameters, of which 10 blocks have 90 each.
PLAIN = Network(1000, 1, num_tokens=4, width=8, heads=2, num_blocks=10,
                block_parameters=90, outside_parameters=100)  # fmt: skip


def state(layout, precision, stage=3):
    """Bytes but for activations."""
    found = held(PLAIN, layout, 1, precision, stage=stage)
    return found.total - found.activations


@pytest.mark.parametrize(("width", "heads", "num", "tokens"), [(64, 4, 2, 16), (32, 2, 3, 8)])
def test_activations_of_a_block_are_what_torch_keeps(width, heads, num, tokens):
    network = Network(1, 1, tokens, width, heads, 1, 1, 0)
    found = kept_bytes(width, heads, num, tokens, torch.float32)
    assert found == activation_bytes(network, num, "fp32")


def test_activations_of_a_block_in_bf16_are_a_little_more_than_torch_keeps_on_a_processor():
    # There the gates' products stay in bf16; the formula has them in float32, as on a GPU.
    network = Network(1, 1, 16, 64, 4, 1, 1, 0)
    copies = 2 * (3 + 1 + 4 + 4) * 64**2  # of the weights; those of the modulation need no gradient
    found = kept_bytes(64, 4, 2, 16, torch.bfloat16) - copies
    assert 0.9 < found / activation_bytes(network, 2, "bf16") < 1


def test_activations_of_a_block_that_looks_at_words_are_what_torch_keeps():
    network = Network(1, 1, 16, 64, 4, 1, 1, 0, words=5)
    words = torch.randn(2, 5, 64)
    found = kept_bytes(64, 4, 2, 16, torch.float32, words, heard_tokens(words))
    # Besides: the words, which all blocks keep together, and a number for each that says if it is
    # heard.
    shared = words.nbytes + 2 * 5 * 4
    assert found - shared == activation_bytes(network, 2, "fp32")


def kept_bytes(width: int, heads: int, num: int, tokens: int, dtype: torch.dtype, *words) -> int:
    block, kept = Block(width, heads, cross_attention=bool(words)), {}
    own = {parameter.untyped_storage().data_ptr() for parameter in block.parameters()}
    x, c = torch.randn(num, tokens, width, requires_grad=True), torch.randn(num, width)

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # alive, so no address is reused
        return tensor

    lowered = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), lowered:
        block(x * 1, c, *words)
    return sum(size for size, _ in kept.values())


def test_activations_by_closed_form():
    token = 8 * (6 * 4 + 14 * 2) + (4 + 2) * 4
    block = 3 * (4 * token + 9 * 8 * 4)
    assert activation_bytes(PLAIN, 3, "bf16") == 10 * block
    assert activation_bytes(PLAIN, 3, "bf16", recompute=True) == block + 10 * 3 * 4 * 8 * 4


def test_state_of_one_gpu_is_20_bytes_to_a_parameter_in_fp32_and_26_in_bf16_data_parallel():
    assert state(ALONE, "fp32") == 20 * 1000
    assert state(ALONE, "bf16") == 22 * 1000
    assert state(Layout(data=8), "bf16") == 26 * 1000


def test_sharded_state_is_divided_but_for_what_is_gathered():
    found = state(Layout(shard=8), "bf16")
    assert found == 20 * 1000 / 8 + 2 * (100 + 2 * 90) + 4 * 90


@pytest.mark.parametrize(("stage", "gradients"), [(1, 1000), (2, 1000 / 8)])
def test_zero_before_stage_3_keeps_weights_and_average_whole(stage, gradients):
    found = held(PLAIN, Layout(shard=8), 1, "bf16", stage=stage)
    assert found.weights == 6 * 1000 + 4 * 1000 / 8  # bf16 copies, and those that the GPU steps
    assert found.gradients == 4 * (gradients + 1000)  # and on their way
    assert (found.optimizer, found.average) == (8 * 1000 / 8, 4 * 1000)


def test_zeros_gradients_are_on_their_way_a_bucket_at_a_time():
    large = replace(PLAIN, parameters=10**9, outside_parameters=10**9 - 900)
    assert held(large, Layout(shard=8), 1, "fp32", stage=2).gradients == 4 * (10**9 / 8 + 5e8)


def test_sharding_that_is_asked_for_is_planned_and_refused_with_its_mend():
    wish = Wish(PLAIN, "expert", 8, 1, "fp32", given=parallel_of("shard=0,sharding=zero-1"))
    found = fit(wish, Gpu("toy", 1e12, 1e12, 100_000), 8)
    assert found.memory == held(PLAIN, Layout(shard=8), 1, "fp32", stage=1)
    assert found.sent_bytes == sent_bytes(PLAIN, Layout(shard=8), 1, 1, "fp32", stage=1)
    with pytest.raises(BadInput, match=r'set island\.parallel\.sharding to "fsdp"'):
        fit(wish, Gpu("toy", 1e12, 1e12, 10_000), 8)


def test_state_of_a_stage_is_its_blocks_and_what_lies_outside_them():
    assert state(Layout(pipeline=2), "fp32") == 20 * (100 + 900 / 2)


def test_layouts_divide_what_is_kept_of_tokens_and_features():
    whole = activation_bytes(PLAIN, 3, "bf16")
    images = 10 * 3 * 9 * 8 * 4
    shared = activation_bytes(PLAIN, 3, "bf16", Layout(sequence=2))
    assert shared == images + (whole - images) / 2
    token = 8 * (6 * 4 + (2 + 6) * 2) + (4 + 1) * 4
    assert activation_bytes(PLAIN, 3, "bf16", Layout(tensor=2)) == images + 10 * 3 * 4 * token


@pytest.mark.parametrize(("profile", "num"), [("exponential", 1), ("power", 2)])
def test_a_checkpoint_of_the_engine_is_as_large_as_foretold(profile, num):
    sizes, shape = Sizes(16, 2, 2, 2), (1, 8, 8)
    network = build_dit(sizes, Conditioning("none"), shape, seed=0)
    training = TrainingSection(ema_profile=profile)
    engine = TorchEngine(network, lambda a, b: (a - b).square().mean((1, 2, 3)), training)
    images = torch.zeros(2, *shape)
    engine.step([Examples(images, torch.zeros(2), None, images)])
    names = {name for name, _ in network.named_parameters()}
    snapshot = engine.snapshot()
    held = [part for key, part in snapshot.network.items() if key in names]
    held += [part for each in snapshot.averages for key, part in each.items() if key in names]
    held += [part for part in snapshot.optimizer.values() if part.dim()]
    foretold = Part("expert", 1, expert(sizes, Told("none", 0), shape), 2, 1, num)
    assert sum(part.nbytes for part in held) == foretold.checkpoint_bytes


def test_every_average_of_the_weights_takes_memory():
    one, three = (held(PLAIN, Layout(), 1, "fp32", num_averages=num) for num in (1, 3))
    assert three.total - one.total == 2 * 4 * PLAIN.parameters


@pytest.mark.parametrize(
    ("num_gpus", "accumulation", "memory", "name"),
    [
        (1, 1, 50_000, "one GPU"),
        (8, 1, 60_000, "data = 8"),
        (8, 1, 40_000, "shard = 8"),
        (8, 2, 20_000, "shard = 4, sequence = 2"),  # of a piece no GPU can have less than an image
    ],
)
def test_the_simplest_layout_that_fits_is_chosen(num_gpus, accumulation, memory, name):
    gpu = Gpu("toy", 1e12, 1e12, memory)
    found = fit(Wish(PLAIN, "expert", num_gpus, accumulation, "bf16"), gpu, num_gpus)
    assert found.name == name
    assert found.memory.total <= 0.9 * memory
    assert "toy" in found.why


@pytest.mark.parametrize(
    ("num_gpus", "micro_batch", "memory", "recompute", "mend"),
    [
        (1, 1, 20_000, False, "--gpus-per-node"),
        (8, 64, 60_000, False, "training.accumulation, or give --recompute"),
        (8, 640, 60_000, True, "training.accumulation"),
        (8, 1, 12_000, False, "--recompute"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_mend(num_gpus, micro_batch, memory, recompute, mend):
    gpu = Gpu("toy", 1e12, 1e12, memory)
    with pytest.raises(BadInput, match=mend) as refused:
        fit(
            Wish(PLAIN, "expert", num_gpus * micro_batch, 1, "bf16", recompute=recompute),
            gpu,
            num_gpus,
        )
    assert "training.batch_size" in str(refused.value)


def test_layout_that_is_asked_for_is_planned_and_refused_where_it_does_not_fit():
    given = parallel_of("shard=2,pipeline=2")
    wish = Wish(PLAIN, "expert", 8, 2, "bf16", given=given)
    found = fit(wish, Gpu("toy", 1e12, 1e12, 60_000), 8)
    assert found.layout == Layout(pipeline=2, data=2, shard=2)
    assert (found.micro_batch, found.why[:26]) == (1, "as [island.parallel] asks;")
    with pytest.raises(BadInput, match=r"raise island\.parallel\.shard"):
        fit(wish, Gpu("toy", 1e12, 1e12, 3_000), 8)


@pytest.mark.parametrize(
    ("words", "batch", "accumulation", "told"),
    [
        (
            "shard=8",
            16,
            8,
            "the expert has 16 samples in a step, too few for training.accumulation",
        ),
        ("data=8", 7, 1, "the expert has 7 samples in a step, too few for 8 processes"),
        ("pipeline=8", 43, 2, "the expert has 43 samples in a step, and a pipeline wants equal"),
    ],
)
def test_layout_that_trainers_refuse_is_refused_in_their_words(words, batch, accumulation, told):
    wish = Wish(PLAIN, "expert", batch, accumulation, "fp32", given=parallel_of(words))
    with pytest.raises(ConfigError, match=told):
        fit(wish, Gpu("toy", 1e12, 1e12, 100_000), 8)


def test_no_layout_is_chosen_that_trainers_refuse():
    gpu = Gpu("toy", 1e12, 1e12, 40_000)
    found = fit(Wish(PLAIN, "expert", 8, 4, "fp32"), gpu, 4)  # shard = 4 would want 16 images
    assert found.name == "shard = 2, sequence = 2"


def test_video_shares_frames_and_places_and_no_heads():
    gpu, video = Gpu("toy", 1e12, 1e12, 10**6), replace(PLAIN, num_tokens=18, heads=4, frames=3)
    wish = Wish(video, "expert", 4, 1, "fp32", given=parallel_of("sequence=3"))
    assert fit(wish, gpu, 3).layout == Layout(sequence=3)
    assert fit(replace(wish, given=None, batch=1), gpu, 3).layout == Layout(sequence=3)
    with pytest.raises(BadInput, match="too few for 2 GPUs"):  # 2 divides the heads, no frames
        fit(replace(wish, given=None, batch=1), gpu, 2)


def test_batch_too_small_for_the_gpus_is_refused_unless_they_can_share_images():
    gpu = Gpu("toy", 1e12, 1e12, 100_000)
    assert fit(Wish(PLAIN, "expert", 4, 1, "fp32"), gpu, 8).name == "shard = 4, sequence = 2"
    with pytest.raises(BadInput, match="the router has 4 images in a step, too few for 8 GPUs"):
        fit(Wish(PLAIN, "router", 4, 1, "fp32"), gpu, 8)


def test_every_gpu_of_the_table_has_a_name_and_sizes():
    assert all(name == gpu.name and gpu.memory_bytes >= 16e9 for name, gpu in GPUS.items())
