import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm
from torch.utils._python_dispatch import TorchDispatchMode

from atoll.config import Config
from atoll.sizes import MMDITS, Sizes
from experts.condition import Conditioning
from experts.flow import seeded
from experts.networks import build_network
from experts.noising import Noising
from experts.perturbation import Perturbation
from experts.task import Place
from experts.times import TimeDensity
from partition.batch import Batch
from partition.text import HashedNgrams

ALL = slice(None)
BY_CLASS, BY_WORD = Conditioning("class", 3), Conditioning("text", 6, "char-ngrams-2-4-6", 4)


def batch_of(num):
    numbers = np.arange(num)
    captions = tuple(["a cat sits", ""][row % 2] for row in range(num))
    images = np.random.default_rng(0).integers(0, 256, (num, 4, 4, 1), dtype=np.uint8)
    return Batch(images, numbers % 3, np.zeros(num, np.int64), captions, numbers)


def noising(told, gamma=0.5, dropout=0.0):
    encoder = HashedNgrams(6, 4) if told.kind == "text" else None
    plain = Noising(0, 1, TimeDensity(), told, dropout, encoder)
    return replace(plain, perturbation=Perturbation(gamma, told, 8)) if gamma else plain


def drawn(told, gamma=0.5, dropout=0.0, num=12, place=Place()):  # noqa: B008
    rows = place.rows(num)
    whole = batch_of(num)
    parts = (whole.images, whole.labels, whole.clusters)
    images, labels, clusters = (part[rows] for part in parts)
    batch = Batch(images, labels, clusters, whole.captions[rows], whole.indices[rows])
    return noising(told, gamma, dropout).draw(batch, 3, num, place)


def test_noise_is_normal_with_a_length_of_about_gamma():
    noise = Perturbation(0.7, BY_CLASS, 400).sample(500, ALL, seeded(torch.device("cpu"), 0))
    assert noise.norm(dim=1).mean() == pytest.approx(0.7, rel=0.01)
    scaled = (noise * math.sqrt(400) / 0.7).flatten().numpy()
    assert kstest(scaled, norm.cdf).statistic < 1.95 / math.sqrt(scaled.size)


@pytest.mark.parametrize("told", [BY_CLASS, BY_WORD])
def test_perturbed_conditions_leave_all_else_that_is_drawn_as_it_was(told):
    (point, _), (plain, _) = drawn(told), drawn(told, gamma=0)
    assert torch.equal(point.x_t, plain.x_t)
    assert torch.equal(point.t, plain.t)


@pytest.mark.parametrize("told", [BY_CLASS, BY_WORD])
def test_perturbed_conditions_over_several_processes_are_those_of_one_cut_to_pieces(told):
    _, whole = drawn(told, dropout=0.3)
    parts = [drawn(told, dropout=0.3, place=Place(rank, 3))[1] for rank in range(3)]
    assert torch.equal(torch.cat(parts), whole)


class Largest(TorchDispatchMode):
    """Looks at every tensor that is made."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numbers = max(self.numbers, made.numel())
        return made


def test_process_draws_no_noise_for_the_rows_of_others():
    perturbation = Perturbation(1.0, Conditioning("text", 32, "some-model", 7), 8)
    with Largest() as largest:
        noise = perturbation.sample(64, slice(30, 32), seeded(torch.device("cpu"), 0))
    assert noise.shape == (2, 7, 32)
    assert largest.numbers == noise.numel()


def test_classes_bring_their_noise_and_the_absent_one_brings_none():
    _, cond = drawn(BY_CLASS, dropout=0.4)
    _, plain = drawn(BY_CLASS, gamma=0, dropout=0.4)
    assert cond.shape == (12, 1 + 8)
    assert torch.equal(cond[:, 0].long(), plain)
    absent = plain == 3
    assert 0 < absent.sum() < 12
    assert not cond[absent, 1:].any()
    assert cond[~absent, 1:].all()


def test_words_are_perturbed_and_padding_is_not():
    _, cond = drawn(BY_WORD)
    _, plain = drawn(BY_WORD, gamma=0)
    own = plain.any(2)  # of "a cat sits" three of four, of "" none
    assert own.sum(1).tolist() == [3, 0] * 6
    assert torch.equal(cond[~own], plain[~own])
    assert (cond[own] != plain[own]).all()


@pytest.mark.parametrize("sizes", [Sizes(width=16, depth=1, heads=2, patch=2), MMDITS["MMDiT-T"]])
def test_network_adds_a_row_s_noise_to_its_class(sizes):
    network = build_network(sizes, BY_CLASS, (1, 4, 4), seed=0)
    embedder = network.y_embedder if isinstance(sizes, Sizes) else network.y_embedder.labels
    classes = torch.tensor([0, 2, 3])
    noise = torch.randn(3, sizes.width, generator=torch.Generator().manual_seed(0))
    found = embedder(torch.cat([classes[:, None].float(), noise], dim=1))
    assert torch.equal(found, embedder(classes) + noise)


def test_perturbing_no_condition_is_refused():
    tree = {"training": {"perturb_condition": 1.0}, "expert": {"condition": "none"}}
    with pytest.raises(ValueError, match=r"training\.perturb_condition = 1 is noise on embedded"):
        Config.model_validate(tree)


def test_expert_with_perturbed_classes_is_trained_and_samples_by_plain_ones(make_run):
    run = make_run(training={"perturb_condition": 1.0, "steps": 2, "grid_every_steps": 1})
    assert run.train(run.assignment())
