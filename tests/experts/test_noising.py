from dataclasses import replace

import numpy as np
import pytest
import torch

from atoll.config import Config
from atoll.errors import ConfigError
from experts.condition import Conditioning
from experts.noising import Noising, conditioning_of, noising_of
from experts.task import Place
from experts.times import TimeDensity
from partition.batch import Batch
from partition.manifest import Latents, Partition, ShardSet, Texts


def some_batch(num, captions=None):
    rng = np.random.default_rng(0)
    return Batch(
        images=rng.integers(0, 256, (num, 4, 4, 1), dtype=np.uint8),
        labels=np.arange(num) % 3,
        clusters=np.zeros(num, np.int64),
        captions=captions,
        indices=np.arange(num),
    )


def rows_of(batch, rows):
    parts = (batch.images, batch.labels, batch.clusters)
    captions = None if batch.captions is None else batch.captions[rows]
    images, labels, clusters = (part[rows] for part in parts)
    return Batch(images, labels, clusters, captions, batch.indices[rows])


def by_class(seed=0, job=1, dropout=0.1):
    return Noising(seed, job, TimeDensity(), Conditioning("class", 3), dropout, None)


def partition_with(class_names=("a", "b"), has_captions=True):
    return Partition(
        "p", 4, (4, 4, 1), class_names, has_captions, (), "", "", (ShardSet(0, 4, (), ()),)
    )


def test_draw_drops_the_configured_share_of_conditions():
    _, cond = by_class(dropout=0.3).draw(some_batch(20_000), 1, 20_000, Place())
    assert (cond == 3).float().mean() == pytest.approx(0.3, abs=0.01)
    kept = cond != 3
    assert torch.equal(cond[kept], (torch.arange(20_000) % 3)[kept])


def test_draw_over_several_processes_is_the_draw_of_one_cut_to_pieces():
    batch = some_batch(10)
    whole, cond = by_class().draw(batch, 5, 10, Place())
    parts = [
        by_class().draw(rows_of(batch, place.rows(10)), 5, 10, place)
        for place in (Place(rank, 3) for rank in range(3))
    ]
    assert torch.equal(torch.cat([point.x_t for point, _ in parts]), whole.x_t)
    assert torch.equal(torch.cat([point.target for point, _ in parts]), whole.target)
    assert torch.equal(torch.cat([part for _, part in parts]), cond)


def test_draw_of_noises_assigned_in_whole_groups_is_the_same_over_any_processes():
    noising, batch = replace(by_class(), immiscible=3), some_batch(12)
    (whole, _), (plain, _) = (each.draw(batch, 5, 12, Place()) for each in (noising, by_class()))
    assert torch.equal(whole.t, plain.t)
    assert not torch.equal(whole.target, plain.target)
    for world in (2, 4):
        parts = [
            noising.draw(rows_of(batch, place.rows(12)), 5, 12, place)[0]
            for place in (Place(rank, world) for rank in range(world))
        ]
        assert torch.equal(torch.cat([point.x_t for point in parts]), whole.x_t)
        assert torch.equal(torch.cat([point.target for point in parts]), whole.target)


@pytest.mark.parametrize("changed", [{"seed": 1}, {"job": 2}, {"step": 2}])
def test_draw_of_another_seed_job_or_step_is_another(changed):
    step = changed.pop("step", 1)
    one, _ = by_class().draw(some_batch(4), 1, 4, Place())
    other, _ = by_class(**changed).draw(some_batch(4), step, 4, Place())
    assert not torch.isclose(one.t, other.t).any()
    assert not torch.isclose(one.x_t, other.x_t).any()


def test_draw_of_unlabelled_samples_gives_them_no_class():
    batch = some_batch(4)
    batch.labels[2] = -1
    _, cond = by_class(dropout=0.0).draw(batch, 1, 4, Place())
    assert cond.tolist() == [0, 1, 3, 0]


def test_draw_with_captions_gives_their_embeddings():
    tree = {"data": {"source": "folder"}, "expert": {"condition": "text"}, "captions": {"dims": 16}}
    config = Config.model_validate(tree)
    conditioning = conditioning_of(config, partition_with())
    noising = noising_of(config, "expert-0", TimeDensity(), conditioning)
    batch = some_batch(3, captions=("a cat", "", "a cat"))
    _, cond = Noising(0, 0, TimeDensity(), conditioning, 0.0, noising.encoder).draw(
        batch, 1, 3, Place()
    )
    assert cond.shape == (3, 16)
    assert torch.equal(cond[0], cond[2])
    assert cond[0].norm() == pytest.approx(1)
    assert not cond[1].any()


def test_condition_of_encoded_captions_is_what_was_encoded_and_none_for_who_is_told_none():
    texts = np.ones((2, 3, 4), np.float16)
    batch = replace(some_batch(2, captions=("a", "b")), texts=texts)
    told = Noising(0, 0, TimeDensity(), Conditioning("text", 4, "clip", 3), 0.0, None)
    assert told.condition(batch).dtype == torch.float32
    assert torch.equal(told.condition(batch), torch.ones(2, 3, 4))
    blind = replace(told, conditioning=Conditioning("none"))
    _, cond = blind.draw(batch, 1, 2, Place())
    assert cond is None


def test_conditioning_of_encoded_captions_is_that_of_the_partition():
    texts = Texts("clip-0123", "0123", 3, 4, 0, ())
    config = Config.model_validate({"data": {"source": "folder"}, "expert": {"condition": "text"}})
    partition = replace(partition_with(), texts=texts)
    assert conditioning_of(config, partition).name == "text:3x4:clip-0123"


def test_conditioning_of_class_counts_the_classes_of_the_data():
    assert conditioning_of(Config(), partition_with()) == Conditioning("class", 2)


@pytest.mark.parametrize(("kind", "missing"), [("class", "labels"), ("text", "captions")])
def test_conditioning_of_data_without_what_is_asked_for_refuses(kind, missing):
    config = Config.model_validate({"data": {"source": "folder"}, "expert": {"condition": kind}})
    with pytest.raises(ConfigError, match=f"the data have no {missing}"):
        conditioning_of(config, partition_with(class_names=(), has_captions=False))


def latents_of(**told):
    fields = {"model": "m", "kind": "moments", "shape": (2, 3, 3), "scale": 4.0, "shift": 0.25}
    return Latents(**{**fields, "mirrored": False, "std": 1.0, "shards": (), **told})


def test_moments_give_a_latent_by_its_mean_spread_and_noise():
    rng = np.random.default_rng(0)
    moments = rng.normal(size=(5, 4, 3, 3)).astype(np.float16)
    batch = Batch(moments, np.zeros(5, np.int64), np.zeros(5, np.int64), None, np.arange(5))
    noising = replace(by_class(), latents=latents_of())
    drawn = torch.randn(5, 2, 3, 3)
    mean, log_variance = torch.from_numpy(moments).float().chunk(2, dim=1)
    expected = (mean + torch.exp(0.5 * log_variance) * drawn - 0.25) * 4
    assert torch.equal(noising.clean(batch, drawn), expected)
    assert torch.equal(noising.clean(batch), (mean - 0.25) * 4)
    # With no noise on the path, the point is the drawn latent: anew in every step, never the mean.
    at = replace(noising, times=TimeDensity("shifted", 1e-9))
    steps = [at.draw(batch, step, 5, Place())[0].x_t for step in (1, 1, 2)]
    assert torch.equal(steps[0], steps[1])
    assert not torch.isclose(steps[0], steps[2]).any()


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ((5, 4, 2, 6), {"kind": "moments"}),
        ((5, 2, 2, 6), {"kind": "samples"}),
        ((5, 2, 4, 2, 6), {"kind": "moments", "mirrored": True}),
    ],
)
def test_latents_of_another_shape_than_the_main_one_are_drawn_in_theirs(stored, told):
    numbers = np.zeros(5, np.int64)
    values = np.random.default_rng(0).normal(size=stored).astype(np.float16)
    batch = Batch(values, numbers, numbers, None, numbers)
    noising = replace(by_class(), latents=latents_of(**told), immiscible=5)
    other = replace(noising, latents=latents_of(shape=(2, 2, 6), **told))
    assert noising.shape_of(batch) == (2, 2, 6)
    drawn, expected = (each.draw(batch, 1, 5, Place())[0] for each in (noising, other))
    assert torch.equal(drawn.x_t, expected.x_t)
    assert drawn.target.shape == (5, 2, 2, 6)


def test_flip_mirrors_half_of_the_images_and_changes_no_other_draw():
    images = some_batch(2_000)
    plain, flipped = by_class(), replace(by_class(), flip=True)
    turned = replace(images, images=images.images[:, :, ::-1].copy())
    as_it_is, mirrored = (plain.draw(each, 3, 2_000, Place()) for each in (images, turned))
    point, cond = flipped.draw(images, 3, 2_000, Place())
    is_mirrored = (point.x_t == mirrored[0].x_t).all(dim=(1, 2, 3))
    assert torch.equal(is_mirrored, ~(point.x_t == as_it_is[0].x_t).all(dim=(1, 2, 3)))
    assert is_mirrored.float().mean() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(cond, as_it_is[1])
