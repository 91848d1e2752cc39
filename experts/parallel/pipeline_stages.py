"""A network cut into the stages of a pipeline, each under the names of the whole."""

from __future__ import annotations

import copy
import itertools
from functools import partial
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from experts.devices import arithmetic

Streams = tuple[Tensor, ...]


class Staged(Protocol):
    """What a network offers that can be cut.

    ``advance`` goes through those blocks that are here, and leaves streams of the same shapes;
    ``finish`` needs ``final_layer`` and no other module. All three may use buffers of the network
    itself: they are constants, and every stage keeps them.
    """

    blocks: nn.ModuleList
    final_layer: nn.Module

    def embed(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Streams:
        """What the first block is given."""
        ...

    def advance(self, *streams: Tensor) -> Streams:
        """What the next block is given."""
        ...

    def finish(self, *streams: Tensor) -> Tensor:
        """What the network answers."""
        ...


class Stages:
    """Who has what of a network.

    Args:
        network: whole.
        num: stages; there are at least as many blocks.

    Attributes:
        outline: the network without its numbers, on torch's meta device.
        num: stages.
    """

    def __init__(self, network: nn.Module, num: int) -> None:
        hollow: dict[int, Tensor] = {
            id(each): nn.Parameter(each.to("meta")) for each in network.parameters()
        }
        hollow |= {id(each): each.to("meta") for each in network.buffers()}
        self.outline = copy.deepcopy(network, cast("dict[int, object]", hollow))
        self.num = num
        sizes = shares(len(_staged(network).blocks), num)
        self._of_block = [stage for stage, size in enumerate(sizes) for _ in range(size)]

    def number(self, name: str) -> int:
        """The stage that has a tensor, or a module; of buffers that all have, the first.

        Args:
            name: in the whole network.
        """
        top, *rest = name.split(".")
        if top == "blocks":
            return self._of_block[int(rest[0])]
        return self.num - 1 if top == "final_layer" else 0

    def part(self, network: nn.Module, number: int) -> nn.Module:
        """A stage, to be called once it has a part to play, see :func:`play`.

        Args:
            network: whole; the stage's tensors are its own.
            number: of the stage.
        """
        part = copy.deepcopy(self.outline)
        blocks = _staged(part).blocks
        # Deleted as attributes, the others keep their numbers.
        for index, stage in enumerate(self._of_block):
            if stage != number:
                delattr(blocks, str(index))
        for name in [name for name, _ in part.named_children() if name != "blocks"]:
            if self.number(name) != number:
                delattr(part, name)
        whole = network.state_dict()
        part.load_state_dict({key: whole[key] for key in part.state_dict()}, assign=True)
        return part

    def play(self, part: nn.Module, number: int, precision: str) -> None:
        """Let a stage, once called, do its part of the network's work.

        Args:
            part: see :meth:`part`.
            number: of the stage.
            precision: of its arithmetic, fp32 or bf16.
        """
        part.forward = partial(_forward, part, number == 0, number == self.num - 1, precision)

    def passed(self, *inputs: Tensor) -> tuple[Streams, Tensor]:
        """What passes from stage to stage, and what the last one answers: shapes without numbers.

        Args:
            inputs: of the network.
        """
        network = _staged(self.outline)
        with torch.no_grad():
            streams = network.embed(*(each.to("meta") for each in inputs))
            answer = network.finish(*streams)
        return tuple(each.float() for each in streams), answer.float()


def shares(num_blocks: int, num_stages: int) -> list[int]:
    """How many blocks each stage has, as alike as can be: all cost the same.

    What is left over goes to stages that have nothing else to do.
    """
    sizes = [num_blocks // num_stages] * num_stages
    inner_first = sorted(range(num_stages), key=lambda stage: stage in (0, num_stages - 1))
    for stage in itertools.islice(inner_first, num_blocks % num_stages):
        sizes[stage] += 1
    return sizes


def _forward(
    part: nn.Module, is_first: bool, is_last: bool, precision: str, *given: Tensor
) -> Streams | Tensor:
    network = _staged(part)
    with arithmetic(precision, given[0].device):
        streams = network.embed(*given) if is_first else given
        streams = network.advance(*streams)
        if is_last:
            return network.finish(*streams)
        # Whatever the precision, so that the next stage knows what it gets.
        return tuple(each.float().contiguous() for each in streams)


def _staged(network: nn.Module) -> Staged:
    return cast("Staged", network)
