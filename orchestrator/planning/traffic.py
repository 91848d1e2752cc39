"""What one GPU of an island sends to the others in a step."""

from __future__ import annotations

from atoll.parallel_section import Layout
from orchestrator.planning.memory import compute_bytes
from orchestrator.planning.networks import Network

_FP32 = 4  # bytes


def sent_bytes(
    network: Network,
    layout: Layout,
    micro_batch: int,
    accumulation: int,
    precision: str,
    *,
    stage: int = 3,
    recompute: bool = False,
) -> float:
    """Bytes that one GPU sends in a step, by rings: of a sum twice its part, of a gathering once.

    Copies of the weights add up their gradients once a step. Along ``shard`` the blocks' weights
    are gathered for the forward and for the backward pass of each micro-batch, and their gradients
    handed out; in ZeRO's stages 1 and 2 gradients are added up, once a step or for each
    micro-batch, and weights gathered once. Along ``sequence`` a block exchanges queries, keys,
    values and what attention makes of them, and their gradients; along ``tensor`` it adds up twice
    on the way there and twice on the way back, once more each for cross-attention, whose text has a
    gradient besides; recomputing does the way there again. Between the stages of a pipeline tokens
    and their gradients pass, and those of a text that is looked at. The few numbers that all agree
    on are left out.

    Args:
        network: which.
        layout: of the island's GPUs.
        micro_batch: images of one forward pass on one GPU.
        accumulation: micro-batches of a step.
        precision: fp32 or bf16.
        stage: of ZeRO, where there is ``shard``: 1, 2, or 3 for FSDP, too.
        recompute: activations are computed again in the backward pass.

    Source: Rajbhandari et al., ZeRO (arXiv 1910.02054), section 7; Jacobs et al., DeepSpeed Ulysses
    (arXiv 2309.14509), section 3; Shoeybi et al., Megatron-LM (arXiv 1909.08053), section 3.
    """
    number = compute_bytes(precision)
    blocks = (network.parameters - network.outside_parameters) / network.block_parameters
    inside = network.cut_block(layout.tensor) * blocks / layout.pipeline
    own = inside + network.outside_parameters
    tokens = micro_batch * network.num_tokens / layout.sequence * network.width
    heard = micro_batch * network.words * network.width
    passes = 3 if recompute else 2
    at_work = network.num_blocks / layout.pipeline * tokens * number
    heard_at_work = network.num_blocks / layout.pipeline * heard * number
    shared = _others(layout.shard) * own
    each = {1: 0, 2: 2 * _FP32, 3: 2 * number + _FP32}[stage] * shared
    once = {1: 3 * _FP32, 2: _FP32, 3: 0}[stage] * shared
    each += _others(layout.sequence) * 4 * passes * at_work
    sums = 3 if network.words else 2
    each += 2 * _others(layout.tensor) * (sums * passes * at_work + heard_at_work)
    each += 2 * (tokens + heard) * _FP32 if layout.pipeline > 1 else 0.0
    once += 2 * _others(layout.data * layout.sequence) * own / layout.shard * _FP32
    return accumulation * each + once


def _others(num: int) -> float:
    """The share of something that so many divide evenly which is not one's own."""
    return (num - 1) / num
