"""Sharing a network out among the processes of an island, in place."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.utils.checkpoint import checkpoint

from experts.parallel.mesh import Mesh
from experts.parallel.portions import Cut
from experts.parallel.sequence import share_tokens
from experts.parallel.tensor import share_features


def spread(network: nn.Module, mesh: Mesh, precision: str) -> dict[str, Cut]:
    """Leave this process its part of a network; its names stay those of the whole.

    Args:
        network: whole, the same on every process, its blocks in ``network.blocks``.
        mesh: where this process stands.
        precision: of forward and backward, fp32 or bf16.

    Returns:
        How its parameters are cut among the processes along ``tensor``, by name.
    """
    cuts: dict[str, Cut] = {}
    if mesh.size("tensor") > 1:
        cuts = share_features(network, mesh.group("tensor"))
    if mesh.size("sequence") > 1:
        share_tokens(network, mesh.group("sequence"))
    if mesh.size("shard") > 1:
        _shard(network, mesh, precision)
    return cuts


def recompute(network: nn.Module) -> None:
    """Keep the inputs of the blocks alone, and compute the rest again in the backward pass."""
    for block in blocks_of(network):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """The transformer's blocks, in which nearly all of its weights are."""
    blocks = network.blocks
    assert isinstance(blocks, nn.ModuleList)
    return list(blocks)


def _shard(network: nn.Module, mesh: Mesh, precision: str) -> None:
    """FSDP2: what a block has is whole while the block is at work.

    Source: Zhao et al., PyTorch FSDP (arXiv 2304.11277).
    """
    # The matrix products would round these weights all the same, see autocast; as they travel, too.
    rounded = MixedPrecisionPolicy(
        param_dtype=None if precision == "fp32" else torch.bfloat16,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
    )
    sharded = [
        *(
            fully_shard(block, mesh=mesh.sharding, mp_policy=rounded)
            for block in blocks_of(network)
        ),
        fully_shard(network, mesh=mesh.sharding, reshard_after_forward=True),
    ]
    for module in sharded:
        # Each process has its part of one mean: their gradients are added up, not averaged.
        module.set_force_sum_reduction_for_comms(True)
        module.set_gradient_divide_factor(1.0)
