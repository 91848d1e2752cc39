"""Training the router: which cluster did a noised image come from?

Cross-entropy over images of all clusters in their natural frequencies, at every time alike, makes
the network's answer p(k | x_t, t, c). Some rows lose their condition, so that both branches of
guidance find their posterior.

Source: McAllister et al., Decentralized Diffusion Models (arXiv 2501.05450).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atoll.checkpoints import Compat
from atoll.config import Config
from atoll.flops import Shape, router_flops
from atoll.jobs import ROUTERS_OWN
from atoll.sizes import Sizes
from atoll.training_section import TrainingSection
from atoll.types import JobSpec
from experts.condition import Conditioning
from experts.flops import mean_flops, samples_seen
from experts.flow import PATH, VelocityField, seeded
from experts.noising import Noising, conditioning_of, noising_of
from experts.profiles import told_of
from experts.task import Examples, Place
from experts.times import TimeDensity
from partition.batch import Batch
from partition.manifest import Partition
from router.network import build_router


@dataclass(frozen=True, slots=True)
class RouterTask:
    """A classifier of noised images. See :class:`experts.task.Task`.

    Attributes:
        shape: of the partition's main images, as the network sees them.
        seen: samples of each shape that it learns from.
    """

    spec: JobSpec
    num_experts: int
    training: TrainingSection
    compat: Compat
    sizes: Sizes
    shape: Shape
    seen: Mapping[Shape, int]
    noising: Noising

    @property
    def clusters(self) -> tuple[int, ...]:
        """See :class:`experts.task.Task`: all of them."""
        return tuple(range(self.num_experts))

    @property
    def aligns(self) -> bool:
        """See :class:`experts.task.Task`: a router learns from images alone."""
        return False

    @property
    def about(self) -> dict[str, Any]:
        """See :class:`experts.task.Task`; :mod:`router.load` reads it."""
        return {
            "role": self.spec.role.value,
            "num_experts": self.num_experts,
            "sizes": asdict(self.sizes),
            "shape": list(self.shape),
            "conditioning": asdict(self.noising.conditioning),
            "batch_size": self.training.batch_size,
            **told_of(self.training),
        }

    @property
    def flops(self) -> int:
        """See :class:`experts.task.Task`."""
        told, num = self.noising.conditioning, self.num_experts
        return mean_flops(lambda shape: router_flops(self.sizes, told, shape, num), self.seen)

    def build(self) -> nn.Module:
        """See :class:`experts.task.Task`."""
        seed = seeded(torch.device("cpu"), self.noising.seed, self.noising.job).initial_seed()
        return build_router(
            self.sizes, self.noising.conditioning, self.shape, self.num_experts, seed
        )

    def examples(self, batch: Batch, step: int, place: Place) -> Examples:
        """See :class:`experts.task.Task`; the target is the cluster."""
        point, cond = self.noising.draw(batch, step, self.training.batch_size, place)
        return Examples(point.x_t, point.t, cond, torch.from_numpy(batch.clusters))

    def shape_of(self, batch: Batch) -> Shape:
        """See :class:`experts.task.Task`."""
        return self.noising.shape_of(batch)

    def examples_at(self, batch: Batch, t: Tensor, noise: Tensor) -> Examples:
        """See :class:`experts.task.Task`."""
        point, cond = self.noising.at(batch, t, noise), self.noising.condition(batch)
        return Examples(point.x_t, t, cond, torch.from_numpy(batch.clusters))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """See :class:`experts.task.Task`; nats."""
        return F.cross_entropy(output.float(), target, reduction="none")

    def measure(self, network: VelocityField, examples: Examples) -> Tensor:
        """See :class:`experts.task.Task`; the loss itself."""
        return self.loss(network(examples.x_t, examples.t, examples.cond), examples.target)

    def grid(self, network: nn.Module, batch: Batch) -> Tensor | None:  # noqa: ARG002
        """See :class:`experts.task.Task`; a router paints nothing."""
        return None


def router_task(config: Config, spec: JobSpec, partition: Partition) -> RouterTask:
    """The task behind a job of role ``router``.

    Raises:
        ConfigError: the configuration does not fit the data.
    """
    condition = conditioning_of(config, partition)
    seen = condition if config.router.condition else Conditioning("none")
    space, shape = partition.space
    own = config.router.model_dump(include=ROUTERS_OWN)
    own["ema_profile"] = "exponential"  # of which its section has the decay
    own["immiscible"] = 0  # a router is taught by independent noise
    return RouterTask(
        spec=spec,
        num_experts=partition.num_experts,
        training=config.training.model_copy(update=own),
        # What the ensemble is conditioned on, whether its router sees that or not.
        compat=Compat(PATH, space, shape, condition.name, partition.digest),
        sizes=config.router.sizes,
        shape=shape,
        seen=samples_seen(partition, range(partition.num_experts)),
        noising=noising_of(config, spec.name, TimeDensity("uniform"), seen, partition.latents),
    )
