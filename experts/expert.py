"""Training an expert on its cluster, or the monolith on all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from atoll.batches import batch_size
from atoll.checkpoints import Compat
from atoll.config import Config
from atoll.flops import Shape, num_tokens
from atoll.networks import expert_flops
from atoll.sizes import NetworkSizes
from atoll.training_section import TrainingSection
from atoll.types import JobSpec, Role
from experts.alignment import aligner_flops, alignment_loss, parted
from experts.condition import Conditioning
from experts.dialect import OURS, Dialect
from experts.exchange.start import Start, start_of
from experts.flops import mean_flops, samples_seen
from experts.flow import PATH, VelocityField, flow_loss, seeded
from experts.networks import build_network
from experts.noising import Noising, conditioning_of, job_number, noising_of
from experts.objectives import objective_of
from experts.perturbation import Perturbation
from experts.profiles import told_of
from experts.routing import draw_kept
from experts.solvers import integrate
from experts.task import Examples, Place
from experts.times import times_of
from experts.weighing import weighted_loss, with_weights
from partition.batch import Batch
from partition.manifest import Partition

_GRID_SIDE = 8
_GRID_STEPS = 25


@dataclass(frozen=True, slots=True)
class ExpertTask:
    """A network that learns the velocity of some clusters. See :class:`experts.task.Task`.

    Attributes:
        shape: of the partition's main images, as the network sees them.
        seen: samples of each shape that it learns from.
        start: what its weights begin as; None for fresh ones.
        feature_dims: of what samples were clustered by.
    """

    spec: JobSpec
    clusters: tuple[int, ...]
    training: TrainingSection
    compat: Compat
    sizes: NetworkSizes
    shape: Shape
    seen: Mapping[Shape, int]
    noising: Noising
    start: Start | None
    feature_dims: int = 0

    @property
    def about(self) -> dict[str, Any]:
        """See :class:`experts.task.Task`; :func:`experts.load.load_expert` reads it."""
        return {
            "role": self.spec.role.value,
            "index": self.spec.index,
            "sizes": asdict(self.sizes),
            "shape": list(self.shape),
            "conditioning": asdict(self.noising.conditioning),
            "dialect": self._dialect.told,
            **self.noising.objective.told,
            "batch_size": self.training.batch_size,
            **told_of(self.training),
        }

    @property
    def flops(self) -> int:
        """See :class:`experts.task.Task`."""
        told, dims = self.noising.conditioning, self.feature_dims
        return mean_flops(
            lambda shape: training_flops(self.training, self.sizes, told, shape, dims), self.seen
        )

    @property
    def aligns(self) -> bool:
        """Whether it learns from features, too, see :mod:`experts.alignment`."""
        return self.training.align > 0

    def build(self) -> nn.Module:
        """See :class:`experts.task.Task`."""
        seed = seeded(torch.device("cpu"), self.noising.seed, self.noising.job).initial_seed()
        conditioning = self.noising.conditioning
        depth = self.training.aligned_after(self.sizes.depth)
        aligned = (self.feature_dims, depth) if self.aligns else None
        network = build_network(
            self.sizes,
            conditioning,
            self.shape,
            seed,
            self._dialect,
            aligned=aligned,
            routing=self.training.routing,
        )
        if self.start is not None:
            self.start.give(network, conditioning)
        return network

    @property
    def _dialect(self) -> Dialect:
        return OURS if self.start is None else self.start.dialect

    def examples(self, batch: Batch, step: int, place: Place) -> Examples:
        """See :class:`experts.task.Task`; the target is what the objective says, and its weight.

        Features that the network is aligned with come after both.
        """
        point, cond = self.noising.draw(batch, step, self.training.batch_size, place)
        target, most_snr = point.target, self.training.min_snr
        if most_snr:
            weights = self.noising.objective.weights(point.t, most_snr)
            target = with_weights(target, weights)
        if self.aligns:
            assert batch.features is not None
            features = torch.from_numpy(batch.features)
            target = torch.cat([target.flatten(1), features], dim=1)
        kept = self._kept(self.shape_of(batch), step, place)
        return Examples(point.x_t, point.t, cond, target, kept)

    def shape_of(self, batch: Batch) -> Shape:
        """See :class:`experts.task.Task`."""
        return self.noising.shape_of(batch)

    def _kept(self, shape: Shape, step: int, place: Place) -> Tensor | None:
        """Which tokens go through all blocks; drawn apart, so that all else is as without."""
        routing, rows = self.training.routing, self.training.batch_size
        if routing is None:
            return None
        parts = (self.noising.seed, self.noising.job, job_number("route"), step)
        generator = seeded(torch.device("cpu"), *parts)
        num = num_tokens(self.sizes, shape)
        return draw_kept(routing, rows, num, generator)[place.rows(rows)]

    def examples_at(self, batch: Batch, t: Tensor, noise: Tensor) -> Examples:
        """See :class:`experts.task.Task`."""
        point = self.noising.at(batch, t, noise)
        return Examples(point.x_t, t, self.noising.condition(batch), point.target)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """See :class:`experts.task.Task`; an aligned answer's counts its alignment, too."""
        if output.dim() > 2:
            return self._told_loss(output, target)
        channels = self.shape[0]
        sides = ((output.shape[1] - self.feature_dims) // channels, 1)  # of whatever image, in one
        told, said = parted(output, (channels, *sides))
        wanted, features = parted(target, (channels + bool(self.training.min_snr), *sides))
        aligned = alignment_loss(said, features)
        return self._told_loss(told, wanted) + self.training.align * aligned

    def _told_loss(self, told: Tensor, target: Tensor) -> Tensor:
        return weighted_loss(told, target) if self.training.min_snr else flow_loss(told, target)

    def measure(self, network: VelocityField, examples: Examples) -> Tensor:
        """See :class:`experts.task.Task`; the loss of the velocity."""
        field = self.noising.objective.field(network, examples.t.device)
        return flow_loss(field(examples.x_t, examples.t, examples.cond), examples.target)

    def grid(self, network: nn.Module, batch: Batch) -> Tensor | None:
        """See :class:`experts.task.Task`; one noise for every job and step.

        Classes are asked for in turn; captions are those of the batch, in turn.
        """
        device = next(network.parameters()).device
        generator = seeded(torch.device("cpu"), self.noising.seed, job_number("grid"))
        noise = torch.randn(_GRID_SIDE**2, *self.shape, generator=generator).to(device)
        cond = self._grid_conditions(batch, torch.arange(len(noise)))
        cond = None if cond is None else cond.to(device)
        field = self.noising.objective.field(network, device)
        return integrate(field, noise, cond, steps=_GRID_STEPS)

    def _grid_conditions(self, batch: Batch, turn: Tensor) -> Tensor | None:
        if self.noising.conditioning.kind == "class":
            return turn % self.noising.conditioning.size
        cond = self.noising.condition(batch)
        return None if cond is None else cond[turn % len(cond)]


def training_flops(
    training: TrainingSection,
    sizes: NetworkSizes,
    conditioning: Conditioning,
    shape: Shape,
    feature_dims: int,
) -> int:
    """Operations of one forward pass in training on one image, of an expert or the monolith."""
    flops = expert_flops(sizes, conditioning, shape, training.routing)
    return flops + (aligner_flops(sizes.width, feature_dims) if training.align else 0)


def expert_task(config: Config, spec: JobSpec, partition: Partition) -> ExpertTask:
    """The task behind a job of role ``expert`` or ``monolith``.

    Raises:
        BadInput: there is nothing at ``expert.init``.
        ConfigError: the configuration does not fit the data, or ``expert.init`` the experts.
    """
    conditioning = conditioning_of(config, partition)
    space, shape = partition.space
    everything = tuple(range(partition.num_experts))
    sizes = config.expert.sizes
    gamma, objective = config.training.perturb_condition, objective_of(config.training, spec)
    clusters = (spec.index,) if spec.role is Role.EXPERT else everything
    rows = batch_size(config, spec, [each.num_samples for each in partition.shard_sets])
    start = None
    if init := config.expert.init:
        told, schedule = objective.told["objective"], config.training.noise_schedule
        start = start_of(init, sizes, shape, told, schedule)
    return ExpertTask(
        spec=spec,
        clusters=clusters,
        training=config.training.model_copy(update={"batch_size": rows}),
        compat=Compat(PATH, space, shape, conditioning.name, partition.digest),
        sizes=sizes,
        shape=shape,
        seen=samples_seen(partition, clusters),
        noising=replace(
            noising_of(
                config,
                spec.name,
                times_of(config.training, partition),
                conditioning,
                partition.latents,
            ),
            objective=objective,
            immiscible=config.training.immiscible,
            perturbation=Perturbation(gamma, conditioning, sizes.width) if gamma else None,
        ),
        start=start,
        feature_dims=partition.features.dims,
    )
