"""Memory by closed form, and against what torch keeps."""

from __future__ import annotations

import pytest
import torch

from atoll.errors import BadInput
from atoll.sections import TrainingSection
from atoll.sizes import Sizes
from experts.blocks import Block
from experts.condition import Conditioning
from experts.dit import build_dit
from experts.task import Examples
from experts.torch_engine import TorchEngine
from orchestrator.planning.hardware import GPUS, Gpu
from orchestrator.planning.layout import fit
from orchestrator.planning.memory import activation_bytes, replicated, sharded
from orchestrator.planning.networks import Network, Told, dit
from orchestrator.planning.volume import CHECKPOINT_BYTES

# 1000 parameters, of which 10 blocks have 90 each.
PLAIN = Network(1000, 1, num_tokens=4, width=8, heads=2, num_blocks=10,
                block_parameters=90, outside_parameters=100)  # fmt: skip


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


def kept_bytes(width: int, heads: int, num: int, tokens: int, dtype: torch.dtype) -> int:
    block, kept = Block(width, heads), {}
    own = {parameter.untyped_storage().data_ptr() for parameter in block.parameters()}
    x, c = torch.randn(num, tokens, width, requires_grad=True), torch.randn(num, width)

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # alive, so no address is reused
        return tensor

    lowered = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), lowered:
        block(x * 1, c)
    return sum(size for size, _ in kept.values())


def test_activations_by_closed_form():
    token = 8 * (6 * 4 + 14 * 2) + (4 + 2) * 4
    block = 3 * (4 * token + 9 * 8 * 4)
    assert activation_bytes(PLAIN, 3, "bf16") == 10 * block
    assert activation_bytes(PLAIN, 3, "bf16", recompute=True) == block + 10 * 3 * 4 * 8 * 4


def test_state_of_one_gpu_is_20_bytes_to_a_parameter_in_fp32_and_26_in_bf16_data_parallel():
    assert replicated(PLAIN, 1, "fp32", 7).total == 20 * 1000 + 7
    assert replicated(PLAIN, 1, "bf16", 7).total == 22 * 1000 + 7
    assert replicated(PLAIN, 8, "bf16", 7).total == 26 * 1000 + 7


def test_sharded_state_is_divided_but_for_what_is_gathered():
    found = sharded(PLAIN, 8, "bf16", 7).total
    assert found == 20 * 1000 / 8 + 2 * (100 + 2 * 90) + 4 * 90 + 7


def test_a_checkpoint_of_the_engine_is_16_bytes_to_a_parameter():
    sizes, shape = Sizes(16, 2, 2, 2), (1, 8, 8)
    network = build_dit(sizes, Conditioning("none"), shape, seed=0)
    engine = TorchEngine(network, lambda a, b: (a - b).square().mean((1, 2, 3)), TrainingSection())
    images = torch.zeros(2, *shape)
    engine.step([Examples(images, torch.zeros(2), None, images)])
    names = {name for name, _ in network.named_parameters()}
    snapshot = engine.snapshot()
    held = [part for key, part in snapshot.network.items() if key in names]
    held += [part for key, part in snapshot.average.items() if key in names]
    held += [part for part in snapshot.optimizer.values() if part.dim()]
    expected = CHECKPOINT_BYTES * dit(sizes, Told("none", 0), shape).parameters
    assert sum(part.nbytes for part in held) == expected


@pytest.mark.parametrize(
    ("num_gpus", "memory", "layout"),
    [(1, 50_000, "one GPU"), (8, 60_000, "data"), (8, 40_000, "sharded")],
)
def test_the_simplest_layout_that_fits_is_chosen(num_gpus, memory, layout):
    gpu = Gpu("toy", 1e12, 1e12, memory)
    found = fit(PLAIN, gpu, num_gpus, 1, "bf16")
    assert found.layout == layout
    assert found.memory.total <= 0.9 * memory
    assert "toy" in found.why


@pytest.mark.parametrize(
    ("num_gpus", "micro_batch", "memory", "recompute", "mend"),
    [
        (1, 1, 20_000, False, "--gpus-per-node"),
        (8, 64, 60_000, False, "training.accumulation, or give --recompute"),
        (8, 640, 60_000, True, "training.accumulation"),
        (8, 1, 18_000, False, "--recompute"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_mend(num_gpus, micro_batch, memory, recompute, mend):
    gpu = Gpu("toy", 1e12, 1e12, memory)
    with pytest.raises(BadInput, match=mend) as refused:
        fit(PLAIN, gpu, num_gpus, micro_batch, "bf16", recompute=recompute)
    assert "training.batch_size" in str(refused.value)


def test_every_gpu_of_the_table_has_a_name_and_sizes():
    assert all(name == gpu.name and gpu.memory_bytes >= 16e9 for name, gpu in GPUS.items())
