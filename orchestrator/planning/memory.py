"""What one GPU holds while it trains.

Atoll's trainer keeps weights, gradients, AdamW's two moments and each average of the weights in
float32; with ``training.precision = "bf16"`` autocast computes on copies of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from atoll.parallel_section import Layout
from orchestrator.planning.networks import Network

ALONE = Layout()
_FP32 = 4  # bytes
_BUCKET = 500_000_000  # elements of DeepSpeed's gradients on their way, see experts.deepspeed


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one GPU.

    Attributes:
        weights: float32, and their copies in the precision of computing.
        gradients: float32, and with several GPUs the buffers they are exchanged in.
        optimizer: AdamW's moments.
        average: of the weights, all that are tracked.
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


def held(
    network: Network,
    layout: Layout,
    micro_batch: int,
    precision: str,
    *,
    stage: int = 3,
    recompute: bool = False,
    num_averages: int = 1,
) -> Memory:
    """What one GPU of an island holds, the one that holds most.

    A stage of a pipeline has its share of the blocks and what lies outside them. Along ``tensor``
    a block's matrices are cut, but not its modulation. Along ``shard`` each GPU holds its part of
    the state; besides it, what lies outside the blocks is whole, and two blocks at a time, one in
    use and one on its way, in the precision of computing; and the gradients of one block before
    they are shared out. That is stage 3 of ZeRO, as FSDP has it. In stages 1 and 2 weights and
    average are whole, beside a GPU's copy of the weights that it steps; in stage 1 gradients, too.

    Args:
        network: which.
        layout: of the island's GPUs.
        micro_batch: images of one forward pass on one GPU.
        precision: fp32 or bf16.
        stage: of ZeRO, where there is ``shard``: 1, 2, or 3 for FSDP, too.
        recompute: activations are computed again in the backward pass.
        num_averages: of the weights.

    Source: Rajbhandari et al., ZeRO (arXiv 1910.02054), section 5.
    """
    whole = network.cut_block(layout.tensor)
    blocks = (network.parameters - network.outside_parameters) / network.block_parameters
    own = network.outside_parameters + whole * blocks / layout.pipeline
    copy = 0 if precision == "fp32" else compute_bytes(precision)
    activations = activation_bytes(network, micro_batch, precision, layout, recompute=recompute)
    part = own / layout.shard
    averages = num_averages * (part if stage == 3 else own)
    if layout.shard == 1:
        exchange = _FP32 if layout.data * layout.sequence > 1 else 0
        weights, gradients = own * (_FP32 + copy), own * (_FP32 + exchange)
    elif stage < 3:
        weights = own * (_FP32 + copy) + part * _FP32
        gradients = ((own if stage == 1 else part) + min(own, _BUCKET)) * _FP32
    else:
        gathered = network.outside_parameters + 2 * whole
        weights = part * _FP32 + gathered * compute_bytes(precision)
        gradients = part * _FP32 + whole * _FP32
    return Memory(weights, gradients, part * 2 * _FP32, averages * _FP32, activations)


def activation_bytes(
    network: Network,
    micro_batch: int,
    precision: str,
    layout: Layout = ALONE,
    *,
    recompute: bool = False,
) -> float:
    """What the blocks keep for the backward pass, with fused attention.

    Of each token a block keeps 6 width features in float32 (twice a norm's input and output, twice
    what a gate scales) and 14 in the precision of computing (the inputs of four projections, 1 + 1
    + 1 + 4; queries, keys and values, 3; the GELU's input, 4); two means and two deviations, and a
    logarithm for each head. Of each image 9 width features. Cross-attention keeps of each token 3
    features more in the precision of computing (its input, queries, and the input of the projection
    at the end) and another logarithm, and of each token of the text keys and values. What comes
    before and after the blocks is left out. With recomputing, the inputs of the blocks and one
    whole block are kept.

    Along ``sequence`` a GPU has its tokens, along ``tensor`` its part of 12 of the 14 features, and
    of all of cross-attention's but its input. In
    a pipeline it has its part of the blocks, and of those as many micro-batches at a time as there
    are parts (1F1B), which comes to all blocks again.

    Args:
        network: which.
        micro_batch: images of one forward pass on one GPU.
        precision: fp32 or bf16.
        layout: of the island's GPUs.
        recompute: activations are computed again in the backward pass.
    """
    width, tokens = network.width, network.num_tokens / layout.sequence
    number = compute_bytes(precision)
    features = 6 * _FP32 + (2 + 12 / layout.tensor) * number
    token = width * features + (4 + network.heads / layout.tensor) * _FP32
    block = micro_batch * (tokens * token + 9 * width * _FP32)
    if network.words:
        heard = width * (1 + 2 / layout.tensor) * number + network.heads / layout.tensor * _FP32
        block += micro_batch * (tokens * heard + network.words * 2 * width / layout.tensor * number)
    if not recompute:
        return network.num_blocks * block
    return block + network.num_blocks * micro_batch * tokens * width * _FP32


def compute_bytes(precision: str) -> int:
    """Of a number in the precision of forward and backward."""
    return _FP32 if precision == "fp32" else 2
