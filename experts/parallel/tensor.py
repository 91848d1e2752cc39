"""Tensor parallelism: each process has some heads of every attention, and features of every MLP.

Source: Shoeybi et al., Megatron-LM (arXiv 1909.08053), section 3.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from experts.blocks import Attention, Mlp
from experts.cross_attention import CrossAttention
from experts.mmdit_blocks import Projections
from experts.parallel.collectives import add_up, lend
from experts.parallel.portions import Cut

_ROWS, _COLUMNS = 0, 1  # of a linear layer's weight: outputs and inputs


def share_features(network: nn.Module, group: ProcessGroup) -> dict[str, Cut]:
    """Leave this process its part of every attention and MLP; all have all of the rest.

    Args:
        network: changed in place.
        group: who shares each image's features; divides the heads.

    Returns:
        How the parameters are cut, by name; those of the rest are not in it.
    """
    cuts: dict[str, Cut] = {}
    for name, module in network.named_modules():
        if isinstance(module, Attention):
            cuts |= _first(module.qkv, f"{name}.qkv", group, num_parts=3)
            cuts |= _last(module.proj, f"{name}.proj", group)
            module.heads //= group.size()
        elif isinstance(module, Projections):
            cuts |= _first(module.qkv, f"{name}.qkv", group, num_parts=3)
            cuts |= _last(module.proj, f"{name}.proj", group)
            for norm in (module.q_norm, module.k_norm):
                _lend_scale(norm, group)
        elif isinstance(module, CrossAttention):
            cuts |= _first(module.q_linear, f"{name}.q_linear", group)
            cuts |= _first(module.kv_linear, f"{name}.kv_linear", group, num_parts=2)
            cuts |= _last(module.proj, f"{name}.proj", group)
            module.heads //= group.size()
        elif isinstance(module, Mlp):
            cuts |= _first(module.fc1, f"{name}.fc1", group)
            cuts |= _last(module.fc2, f"{name}.fc2", group)
        else:
            continue
        module.register_forward_pre_hook(lambda _, given: tuple(lend(x, group) for x in given))
    return cuts


def _first(layer: nn.Linear, name: str, group: ProcessGroup, num_parts: int = 1) -> dict[str, Cut]:
    """Cut the outputs of a layer."""
    cut = Cut(_ROWS, num_parts)
    for key, parameter in list(layer.named_parameters()):
        setattr(layer, key, _part(cut, parameter, group))
    return {f"{name}.weight": cut, f"{name}.bias": cut}


def _last(layer: nn.Linear, name: str, group: ProcessGroup) -> dict[str, Cut]:
    """Cut the inputs of a layer, and add up what its parts make of them."""
    cut = Cut(_COLUMNS)
    layer.weight = _part(cut, layer.weight, group)

    def forward(x: Tensor) -> Tensor:
        summed = add_up(F.linear(x, layer.weight), group)
        return summed if layer.bias is None else summed + layer.bias  # the bias once

    layer.forward = forward  # type: ignore[method-assign,assignment]
    return {f"{name}.weight": cut}


def _lend_scale(norm: nn.RMSNorm, group: ProcessGroup) -> None:
    """All heads have one scale: its gradient comes from everybody's."""

    def forward(x: Tensor) -> Tensor:
        return F.rms_norm(x, norm.normalized_shape, lend(norm.weight, group), norm.eps)

    norm.forward = forward  # type: ignore[method-assign]


def _part(cut: Cut, parameter: Tensor, group: ProcessGroup) -> nn.Parameter:
    return nn.Parameter(cut.part(parameter.detach(), group.rank(), group.size()).contiguous())
