"""Networks that are compiled."""

from __future__ import annotations

import torch
from torch import nn

from experts.places import table

_MOST = 256  # graphs, which is as many as torch keeps of all networks of a process


def compile_in_place(network: nn.Module) -> None:
    """Compile a network, or a part of one, for each shape that it is given, when it first is.

    Left to itself, torch compiles the first shape that comes, and others with sides left open. Then
    what a step rounds to would hang on the shapes before it, and a job that goes on would not be
    the one that was never interrupted.

    Args:
        network: keeps the names of its weights.
    """
    torch.compiler.assume_constant_result(table)  # type: ignore[no-untyped-call]
    network.compile(dynamic=False, recompile_limit=_MOST)
