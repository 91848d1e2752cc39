"""How the GPUs of an island share a network: the simplest way that fits their memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, fields

from atoll.errors import BadInput, ConfigError
from atoll.gpus import Gpu
from atoll.parallel_fit import refuse_rows, refuse_tokens
from atoll.parallel_section import Layout, ParallelSection
from orchestrator.planning.memory import Memory, held
from orchestrator.planning.networks import Network
from orchestrator.planning.traffic import sent_bytes

USABLE = 0.9  # of a GPU's memory; the rest is the driver's, the libraries', and fragments'


@dataclass(frozen=True, slots=True)
class Fit:
    """How the GPUs of an island share the work, and why so.

    Attributes:
        layout: of the island.
        micro_batch: images of one forward pass on one GPU.
        memory: of one GPU.
        sent_bytes: by one GPU in a step, to the others.
        why: a sentence.
    """

    layout: Layout
    micro_batch: int
    memory: Memory
    sent_bytes: float
    why: str

    @property
    def name(self) -> str:
        """The layout in the words of ``[island.parallel]``."""
        sizes = [(each.name, getattr(self.layout, each.name)) for each in fields(self.layout)]
        return ", ".join(f"{name} = {num}" for name, num in sizes if num > 1) or "one GPU"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be fitted.

    Attributes:
        network: which.
        name: what it is called: expert, monolith or router.
        batch: images of a step.
        accumulation: micro-batches of a step.
        precision: fp32 or bf16.
        recompute: activations are computed again in the backward pass.
        num_averages: of the weights.
        given: the layout that the configuration asks for; None to choose one.
        asker: what asks for it, in words.
    """

    network: Network
    name: str
    batch: int
    accumulation: int
    precision: str
    recompute: bool = False
    num_averages: int = 1
    given: ParallelSection | None = None
    asker: str = "[island.parallel]"

    @property
    def stage(self) -> int:
        """Of ZeRO; FSDP's is 3."""
        return (self.given.zero if self.given else 0) or 3


def fit(wish: Wish, gpu: Gpu, num_gpus: int) -> Fit:
    """The layout that was asked for, or the simplest in which a network can be trained.

    Args:
        wish: what is to be fitted.
        gpu: of which the island has ``num_gpus``.
        num_gpus: that share a batch.

    Raises:
        BadInput: there is none; names the key that can mend it.
        ConfigError: the one that was asked for cannot share the batch, or the tokens of an image.
    """
    room = USABLE * gpu.memory_bytes
    tried = [_in(wish, layout) for layout in _layouts(wish, num_gpus)]
    if not tried:
        raise BadInput(
            f"the {wish.name} has {wish.batch} images in a step, too few for {num_gpus} GPUs; "
            "lower island.nodes, island.processes or --gpus-per-node, or raise the batch size"
        )
    for found in tried:
        if found.memory.total <= room:
            return Fit(*_numbers(found), why=_why(wish, found, tried[0], gpu))
    least = min(tried, key=lambda each: each.memory.total)
    raise BadInput(_refusal(wish, least, gpu, room))


def _layouts(wish: Wish, num: int) -> Iterator[Layout]:
    """The one that is asked for; or from the simplest, in which each has all of the network."""
    if wish.given is not None:
        layout = wish.given.over(num)
        _refuse_uneven(wish, layout, wish.given)
        yield layout
        return
    layouts = [Layout(data=num)]
    if wish.name != "router" and num > 1:  # a router is data parallel always
        layouts += [Layout(shard=num // part, sequence=part) for part in _divisors(num)]
    for layout in layouts:
        shares_heads = layout.sequence > 1 and wish.network.frames == 1
        if not (shares_heads and wish.network.heads % layout.sequence):
            with contextlib.suppress(ConfigError):
                _refuse_uneven(wish, layout, ParallelSection(sequence=layout.sequence))
                yield layout


def _refuse_uneven(wish: Wish, layout: Layout, parallel: ParallelSection) -> None:
    refuse_rows(f"the {wish.name}", wish.batch, layout, parallel, wish.accumulation)
    refuse_tokens(parallel, wish.network.image_tokens, wish.network.frames)


def _divisors(num: int) -> list[int]:
    return [part for part in range(1, num + 1) if num % part == 0]


def _in(wish: Wish, layout: Layout) -> Fit:
    micro_batch = -(-wish.batch // (layout.rows * wish.accumulation))
    network, precision, stage, recompute = wish.network, wish.precision, wish.stage, wish.recompute
    memory = held(
        *(network, layout, micro_batch, precision),
        stage=stage,
        recompute=recompute,
        num_averages=wish.num_averages,
    )
    sent = sent_bytes(
        *(network, layout, micro_batch, wish.accumulation, precision),
        stage=stage,
        recompute=recompute,
    )
    return Fit(layout, micro_batch, memory, sent, why="")


def _numbers(found: Fit) -> tuple[Layout, int, Memory, float]:
    return found.layout, found.micro_batch, found.memory, found.sent_bytes


def _why(wish: Wish, found: Fit, simplest: Fit, gpu: Gpu) -> str:
    if wish.given is not None:
        return f"as {wish.asker} asks; {_gb(found.memory.total)} of {_of(gpu)}"
    if found is simplest:
        return f"all of it, {_gb(found.memory.total)}, fits {_of(gpu)}"
    return (
        f"whole it would be {_gb(simplest.memory.total)}, too much for {_of(gpu)}; shared out it "
        f"fits: set [island.parallel] {found.name}"
    )


def _refusal(wish: Wish, least: Fit, gpu: Gpu, room: float) -> str:
    if least.memory.total - least.memory.activations > room:
        mend = "raise --gpus-per-node, choose a larger --gpu, or make the network smaller"
        if wish.given is not None:
            mend = "raise island.parallel.shard, or leave the layout out to have one chosen"
            if wish.stage < 3:
                mend = 'set island.parallel.sharding to "fsdp", which shares out all of the state'
    elif least.micro_batch > 1:
        mend = "raise training.accumulation" + ("" if wish.recompute else ", or give --recompute")
    else:
        mend = "choose a larger --gpu" if wish.recompute else "give --recompute, or a larger --gpu"
    if wish.name == "monolith":
        mend += ", or leave it out with evaluation.monolith=false"
    size = "router.batch_size" if wish.name == "router" else "training.batch_size"
    return (
        f"{size} leaves a GPU {least.micro_batch} images of the {wish.name} at a time, which take "
        f"{_gb(least.memory.total)} of it, too much for {_of(gpu)}; {mend}"
    )


def _of(gpu: Gpu) -> str:
    return f"{gpu.name} ({USABLE:.0%} of {_gb(gpu.memory_bytes)})"


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:,.3g} GB"
