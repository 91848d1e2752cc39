"""The processes of an island as a grid, and the groups of them that talk."""

from __future__ import annotations

from dataclasses import astuple, fields
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, distributed
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh

from atoll.parallel_section import Layout
from experts.task import Place

Way = Literal["pipeline", "data", "shard", "sequence", "tensor"]

_WAYS = tuple(field.name for field in fields(Layout))
# Every process makes all groups, in this order: a group comes to be when all its members ask.
_GROUPS: tuple[tuple[Way, ...], ...] = (
    ("pipeline",),
    ("shard",),
    ("sequence",),
    ("tensor",),
    ("data", "sequence"),
    ("data", "shard"),
    ("shard", "tensor"),
)
_ALONE, _CPU = Layout(), torch.device("cpu")


class Mesh:
    """A process among those of its island.

    Args:
        layout: of all of them.
        rank: of this one.
        device: where it computes.
    """

    def __init__(self, layout: Layout = _ALONE, rank: int = 0, device: torch.device = _CPU) -> None:
        self.layout, self.rank, self._device = layout, rank, device
        self._ranks = torch.arange(layout.num).reshape(astuple(layout))
        place = (self._ranks == rank).nonzero()[0].tolist()
        self._place = dict(zip(_WAYS, place, strict=True))
        self._groups: dict[tuple[Way, ...], ProcessGroup] = {
            ways: distributed.new_subgroups_by_enumeration(self.members(*ways).tolist())[0]  # type: ignore[no-untyped-call]
            for ways in _GROUPS
            if self.size(*ways) > 1
        }

    def size(self, *ways: Way) -> int:
        """How many processes differ along these ways alone."""
        num = 1
        for way in ways:
            num *= int(getattr(self.layout, way))
        return num

    def index(self, *ways: Way) -> int:
        """Which of them this process is."""
        number = 0
        for way in ways:
            number = number * self.size(way) + self._place[way]
        return number

    def group(self, *ways: Way) -> ProcessGroup:
        """Those that differ from this process along these ways alone; there is more than one."""
        return self._groups[ways]

    def members(self, *ways: Way) -> Tensor:
        """The ranks of all such groups, (groups, members) int64."""
        kept = [number for number, way in enumerate(_WAYS) if way not in ways]
        moved = [_WAYS.index(way) for way in ways]
        return self._ranks.permute(*kept, *moved).reshape(-1, self.size(*ways))

    @property
    def rows(self) -> Place:
        """Which rows of a batch are this process's."""
        return Place(self.index("data", "shard"), self.layout.rows)

    @cached_property
    def sharding(self) -> DeviceMesh:
        """For FSDP: replicas of the weights (rows of other data, other tokens) x shards."""
        device = self._device.type
        if self.size("data", "sequence") == 1:
            return DeviceMesh.from_group(self.group("shard"), device, mesh_dim_names=("shard",))
        ranks = self.members("data", "sequence", "shard")
        own = ranks[(ranks == self.rank).any(1)].reshape(-1, self.size("shard"))
        return DeviceMesh.from_group(
            [self.group("data", "sequence"), self.group("shard")],
            device,
            mesh=own,
            mesh_dim_names=("replica", "shard"),
        )
