"""What the stages of a pipeline have, whole on the first process."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, distributed

from experts.parallel.mesh import Mesh


def gathered(
    every: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    process_of: Callable[[str], int],
    whole: Callable[[str, Tensor], Tensor],
    mesh: Mesh,
    name_of: Callable[[str], str] = str,
) -> dict[str, Tensor]:
    """All tensors on the island's first process, one after the other; all processes call.

    Args:
        every: outlines of all, by key, in an order that is the same everywhere.
        own: what this process has of its own ones.
        process_of: the process along ``pipeline`` that has a tensor of the network, by its name.
        whole: such a tensor, or what belongs to it, from its name and what this process has.
        mesh: where this process stands.
        name_of: the name in the network, of a key.

    Returns:
        By key; those of other processes on the CPU, which has room for them. On other processes,
        nothing of use.
    """
    group = mesh.group("pipeline")
    speaks = mesh.rank in mesh.members("pipeline")[0]  # other rows of the mesh have the same
    device = next(iter(own.values())).device
    all_of_them = {}
    for key, outline in every.items():
        process = process_of(name_of(key))
        if process == mesh.index("pipeline"):
            tensor = whole(name_of(key), own[key])
            if process == 0:
                all_of_them[key] = tensor
            elif speaks:
                distributed.send(tensor.to(device).contiguous(), group=group, group_dst=0)
        elif mesh.rank == 0:
            tensor = torch.empty_like(outline, device=device)
            distributed.recv(tensor, group=group, group_src=process)
            all_of_them[key] = tensor.cpu()
    return all_of_them
