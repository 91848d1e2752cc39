"""An ensemble known in closed form, and a small one that was really trained."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from experts.condition import Conditioning
from tests.trained_run import copied, train_run


@dataclass(frozen=True)
class GaussianMixture:
    """Isotropic Gaussians on images of shape (1, 1, D), each in one cluster and of one class.

    Times run from 0 (data) to 1 (noise): a component at t is N((1 - t) mean, (1 - t)^2 s^2 + t^2).
    """

    mean: Tensor  # (J, D)
    std: Tensor  # (J,)
    mass: Tensor  # (J,), sums to 1
    cluster: Tensor  # (J,)
    label: Tensor  # (J,)

    @property
    def num_clusters(self) -> int:
        return int(self.cluster.max()) + 1

    @property
    def conditioning(self) -> Conditioning:
        return Conditioning("class", int(self.label.max()) + 1)

    @property
    def dims(self) -> int:
        return self.mean.shape[1]

    def velocity(self, x_t, t, cond=None, cluster=None):
        """The marginal velocity, of all data or of one cluster; 0 where nothing is asked for."""
        log_density, velocity = self._components(x_t, t)
        posterior = torch.softmax(log_density + self._log_mass(len(x_t), cond, cluster), dim=1)
        mixed = (posterior.nan_to_num(0.0).unsqueeze(2) * velocity).sum(1)
        return mixed.reshape(x_t.shape)

    def expert(self, k):
        return lambda x_t, t, cond: self.velocity(x_t, t, cond, cluster=k)

    def experts(self):
        return [self.expert(k) for k in range(self.num_clusters)]

    def gate(self, x_t, t, cond):
        """The exact p(k | x_t, t, c), (B, K)."""
        log_density, _ = self._components(x_t, t)
        posterior = torch.softmax(log_density + self._log_mass(len(x_t), cond, None), dim=1)
        clusters = torch.nn.functional.one_hot(self.cluster, self.num_clusters)
        return posterior @ clusters.to(posterior.dtype)

    def draw(self, num, generator):
        """Images (B, 1, 1, D), with cluster and class of each."""
        chosen = torch.multinomial(self.mass, num, replacement=True, generator=generator)
        noise = torch.randn(num, self.dims, generator=generator, dtype=self.mean.dtype)
        x0 = self.mean[chosen] + self.std[chosen, None] * noise
        return x0.reshape(num, 1, 1, -1), self.cluster[chosen], self.label[chosen]

    def prior(self, label=None):
        mass = self.mass if label is None else self.mass * (self.label == label)
        sums = torch.zeros(self.num_clusters, dtype=mass.dtype).index_add(0, self.cluster, mass)
        return sums / sums.sum()

    def moments(self):
        """Mean (D,) and covariance (D, D) of the whole data set."""
        mean = self.mass @ self.mean
        spread = torch.einsum("j,jd,je->de", self.mass, self.mean, self.mean)
        inner = (self.mass @ self.std.square()) * torch.eye(self.dims, dtype=mean.dtype)
        return mean, spread + inner - torch.outer(mean, mean)

    def _components(self, x_t, t):
        x = x_t.reshape(len(x_t), 1, -1)
        t = t.to(self.mean.dtype).reshape(-1, 1)
        variance = (1 - t).square() * self.std.square() + t.square()  # (B, J)
        away = x - (1 - t).unsqueeze(2) * self.mean  # (B, J, D)
        log_density = -away.square().sum(2) / (2 * variance) - self.dims / 2 * variance.log()
        x0 = self.mean + ((1 - t) * self.std.square() / variance).unsqueeze(2) * away
        noise = (t / variance).unsqueeze(2) * away
        return log_density, noise - x0

    def _log_mass(self, num, cond, cluster):
        keep = torch.ones(num, len(self.mass), dtype=torch.bool)
        if cond is not None:
            free = (cond == self.conditioning.size).unsqueeze(1)
            keep &= free | (cond.unsqueeze(1) == self.label)
        if cluster is not None:
            keep &= self.cluster == cluster
        return torch.where(keep, self.mass.log(), -torch.inf)


@pytest.fixture(scope="session")
def mixture() -> GaussianMixture:
    """Three clusters of unequal mass and several components, crossed by two classes."""
    return GaussianMixture(
        mean=torch.tensor(
            [[-4.0, 0.0], [-3.0, 1.5], [0.0, 3.0], [1.0, -3.0], [3.0, 2.0], [4.0, -1.0]],
            dtype=torch.float64,
        ),
        std=torch.tensor([0.3, 0.5, 0.4, 0.6, 0.35, 0.7], dtype=torch.float64),
        mass=torch.tensor([0.3, 0.15, 0.1, 0.05, 0.15, 0.25], dtype=torch.float64),
        cluster=torch.tensor([0, 0, 1, 1, 2, 2]),
        label=torch.tensor([0, 1, 0, 1, 1, 0]),
    )


@pytest.fixture
def batch(mixture):
    """Noised images, mixed times and classes, one row in five without a class: (x_t, t, cond)."""
    generator = torch.Generator().manual_seed(1)
    x0, _, label = mixture.draw(64, generator)
    t = torch.linspace(0, 1, 64, dtype=torch.float64)[torch.randperm(64, generator=generator)]
    noise = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    at = t.reshape(-1, 1, 1, 1)
    cond = torch.where(torch.arange(64) % 5 == 0, mixture.conditioning.size, label)
    return (1 - at) * x0 + at * noise, t, cond


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory):
    return train_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def trained(trained_folder, tmp_path):
    """A copy of a run whose experts and router are trained."""
    return copied(trained_folder, tmp_path)
