import dataclasses

import numpy as np
import pytest
import torch

from atoll.blobs import open_store
from atoll.config import Config
from atoll.errors import BadInput
from evaluation import classifier
from evaluation.extractor import open_extractor
from evaluation.real import RealImages


@pytest.fixture
def real():
    """Bright and dark images, without labels but in two clusters."""
    rng = np.random.default_rng(0)
    clusters = np.arange(200) % 2
    images = rng.integers(0, 100, (200, 8, 8, 1)) + 120 * clusters.reshape(-1, 1, 1, 1)
    clusters, labels = clusters.astype(np.int64), np.full(200, -1)
    return RealImages(images.astype(np.uint8), labels, clusters, 2, None, "digest", torch.empty)


@pytest.fixture
def save_vision_model(tmp_path):
    """Saves a tiny random DINOv2; imported here, for those who only collect this take seconds."""
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    def save(name, seed):
        torch.manual_seed(seed)
        folder = tmp_path / name
        sizes = Dinov2Config(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28
        )
        Dinov2Model(sizes).save_pretrained(folder)
        edge = {"height": 28, "width": 28}
        BitImageProcessor(size={"shortest_edge": 28}, crop_size=edge).save_pretrained(folder)
        return str(folder)

    return save


def config_of(model):
    return Config.model_validate({"evaluation": {"extractor": {"transformers": model}}})


@pytest.mark.parametrize("label", [-1, 0, 3])
def test_extractor_of_data_with_one_class_or_none_learns_the_clusters(
    tmp_path, real, monkeypatch, label
):
    monkeypatch.setattr(classifier, "_STEPS", 30)
    real = dataclasses.replace(real, labels=np.full(200, label))
    extractor = open_extractor(Config(), open_store(str(tmp_path)), real)
    assert extractor.accuracy == 1
    other = open_store(str(tmp_path / "other"))
    by_clusters = classifier.classifier_features(other, real.images, real.clusters)
    assert extractor.digest == by_clusters.digest


def test_extractor_from_transformers_gives_pooled_features(tmp_path, real, save_vision_model):
    store = open_store(str(tmp_path / "run"))
    extractor = open_extractor(config_of(save_vision_model("one", 0)), store, real)
    features = extractor(real.images)
    assert features.shape == (200, 16)
    assert extractor.accuracy is None
    assert not store.list("")


def test_extractor_from_transformers_is_known_by_its_weights(tmp_path, real, save_vision_model):
    store = open_store(str(tmp_path / "run"))
    digests = [
        open_extractor(config_of(save_vision_model(name, seed)), store, real).digest
        for name, seed in (("one", 0), ("same", 0), ("other", 1))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_extractor_that_is_not_there_is_named(tmp_path, real):
    with pytest.raises(BadInput, match="nowhere"):
        open_extractor(config_of(str(tmp_path / "nowhere")), open_store(str(tmp_path)), real)
