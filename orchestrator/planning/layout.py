"""How the GPUs of an island share a network: the simplest way that fits their memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from atoll.errors import BadInput
from orchestrator.planning.hardware import Gpu
from orchestrator.planning.memory import Memory, activation_bytes, replicated, sharded
from orchestrator.planning.networks import Network

USABLE = 0.9  # of a GPU's memory; the rest is the driver's, the libraries', and fragments'

Layout = Literal["one GPU", "data", "sharded"]


@dataclass(frozen=True, slots=True)
class Fit:
    """How the GPUs of an island share the work, and why so.

    Attributes:
        layout: one GPU; data: each holds everything; sharded: each holds a part of the state.
        memory: of one GPU.
        why: a sentence.
    """

    layout: Layout
    memory: Memory
    why: str


def fit(
    network: Network,
    gpu: Gpu,
    num_gpus: int,
    micro_batch: int,
    precision: str,
    *,
    recompute: bool = False,
    name: str = "expert",
) -> Fit:
    """The simplest layout in which a network can be trained.

    Args:
        network: which.
        gpu: of which the island has ``num_gpus``.
        num_gpus: that share a batch.
        micro_batch: images of one forward pass on one GPU.
        precision: fp32 or bf16.
        recompute: activations are computed again in the backward pass.
        name: what an error calls the network: expert, monolith or router.

    Raises:
        BadInput: there is none; names the key that can mend it.
    """
    activations = activation_bytes(network, micro_batch, precision, recompute=recompute)
    room = USABLE * gpu.memory_bytes
    whole = replicated(network, num_gpus, precision, activations)
    if whole.total <= room:
        layout: Layout = "one GPU" if num_gpus == 1 else "data"
        return Fit(layout, whole, f"all of it, {_gb(whole.total)}, fits {_of(gpu)}")
    parts = sharded(network, num_gpus, precision, activations)
    if num_gpus > 1 and parts.total <= room:
        why = f"whole it would be {_gb(whole.total)}, too much for {_of(gpu)}; shared out it fits"
        return Fit("sharded", parts, why)
    least = parts if num_gpus > 1 else whole
    if least.total - activations > room:
        mend = "raise --gpus-per-node, choose a larger --gpu, or make the network smaller"
    elif micro_batch > 1:
        mend = "raise training.accumulation" + ("" if recompute else ", or give --recompute")
    else:
        mend = "choose a larger --gpu" if recompute else "give --recompute, or a larger --gpu"
    if name == "monolith":
        mend += ", or leave it out with evaluation.monolith=false"
    size = "router.batch_size" if name == "router" else "training.batch_size"
    raise BadInput(
        f"{size} leaves a GPU {micro_batch} images of the {name} at a time, which take "
        f"{_gb(least.total)} of it, too much for {_of(gpu)}; {mend}"
    )


def _of(gpu: Gpu) -> str:
    return f"{gpu.name} ({USABLE:.0%} of {_gb(gpu.memory_bytes)})"


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:,.3g} GB"
