"""What one GPU holds while it trains.

Atoll's trainer keeps weights, gradients, AdamW's two moments and the averaged weights in float32;
with ``training.precision = "bf16"`` autocast computes on copies of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.planning.networks import Network

_FP32 = 4  # bytes


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one GPU.

    Attributes:
        weights: float32, and their copies in the precision of computing.
        gradients: float32, and with several GPUs the buffers they are exchanged in.
        optimizer: AdamW's moments.
        average: of the weights.
        activations: kept for the backward pass of a micro-batch.
    """

    weights: float
    gradients: float
    optimizer: float
    average: float
    activations: float

    @property
    def total(self) -> float:
        """All of them."""
        state = self.weights + self.gradients + self.optimizer + self.average
        return state + self.activations


def activation_bytes(
    network: Network, micro_batch: int, precision: str, *, recompute: bool = False
) -> int:
    """What the blocks keep for the backward pass, with fused attention.

    Of each token a block keeps 6 width features in float32 (twice a norm's input and output, twice
    what a gate scales) and 14 in the precision of computing (the inputs of four projections, 1 + 1
    + 1 + 4; queries, keys and values, 3; the GELU's input, 4); two means and two deviations, and a
    logarithm for each head. Of each image 9 width features. What comes before and after the blocks
    is left out. With recomputing, the inputs of the blocks and one whole block are kept.

    Args:
        network: which.
        micro_batch: images of one forward pass on one GPU.
        precision: fp32 or bf16.
        recompute: activations are computed again in the backward pass.
    """
    width, tokens = network.width, network.num_tokens
    token = width * (6 * _FP32 + 14 * compute_bytes(precision)) + (4 + network.heads) * _FP32
    block = micro_batch * (tokens * token + 9 * width * _FP32)
    if not recompute:
        return network.num_blocks * block
    return block + network.num_blocks * micro_batch * tokens * width * _FP32


def replicated(network: Network, num_gpus: int, precision: str, activations: float) -> Memory:
    """Each GPU holds everything."""
    count, copy = network.parameters, 0 if precision == "fp32" else compute_bytes(precision)
    exchange = _FP32 if num_gpus > 1 else 0
    return Memory(
        weights=count * (_FP32 + copy),
        gradients=count * (_FP32 + exchange),
        optimizer=count * 2 * _FP32,
        average=count * _FP32,
        activations=activations,
    )


def sharded(network: Network, num_gpus: int, precision: str, activations: float) -> Memory:
    """Each GPU holds its part of the state.

    Besides it, what lies outside the blocks is whole, and two blocks at a time, one in use and one
    on its way, in the precision of computing; and the gradients of one block before they are shared
    out.

    Source: Rajbhandari et al., ZeRO (arXiv 1910.02054), stage 3.
    """
    part, block = network.parameters / num_gpus, network.block_parameters
    return Memory(
        weights=part * _FP32 + (network.outside_parameters + 2 * block) * compute_bytes(precision),
        gradients=part * _FP32 + block * _FP32,
        optimizer=part * 2 * _FP32,
        average=part * _FP32,
        activations=activations,
    )


def compute_bytes(precision: str) -> int:
    """Of a number in the precision of forward and backward."""
    return _FP32 if precision == "fp32" else 2
