import numpy as np
import pytest
from sklearn.datasets import load_digits

from atoll.blobs import open_store
from atoll.errors import DataError
from evaluation import classifier as subject
from evaluation.classifier import classifier_features


@pytest.fixture
def digits(monkeypatch):
    monkeypatch.setattr(subject, "_STEPS", 60)
    data = load_digits()
    images = (data.images[:400] * 255 / 16).astype(np.uint8)[..., None]
    return images, data.target[:400].astype(np.int64)


def test_classifier_learns_the_held_out_classes(tmp_path, digits):
    extractor = classifier_features(open_store(str(tmp_path)), *digits)
    assert extractor.accuracy > 0.5  # chance is a tenth
    features = extractor(digits[0][:7])
    assert features.shape == (7, 64)
    assert features.dtype == np.float32


def test_classifier_of_shuffled_data_in_another_run_is_the_same(tmp_path, digits):
    images, labels = digits
    order = np.random.default_rng(0).permutation(len(images))
    first = classifier_features(open_store(str(tmp_path / "a")), images, labels)
    other = classifier_features(open_store(str(tmp_path / "b")), images[order], labels[order])
    assert first.digest == other.digest
    np.testing.assert_array_equal(first(images[:9]), other(images[:9]))


def test_classifier_is_trained_once_in_a_run(tmp_path, digits, monkeypatch):
    store = open_store(str(tmp_path))
    first = classifier_features(store, *digits)
    monkeypatch.setattr(subject, "train", None)
    assert classifier_features(store, *digits).digest == first.digest


@pytest.mark.parametrize("number", ["_STEPS", "_BATCH", "_FEATURES", "_TRAINING"])
def test_classifier_trained_another_way_is_trained_anew(tmp_path, digits, monkeypatch, number):
    store = open_store(str(tmp_path))
    classifier_features(store, *digits)
    monkeypatch.setattr(subject, number, getattr(subject, number) // 2)
    classifier_features(store, *digits)
    assert len(store.list("evaluation")) == 2


def test_classifier_of_changed_data_is_another_one(tmp_path, digits):
    images, labels = digits
    store = open_store(str(tmp_path))
    before = classifier_features(store, images, labels).digest
    changed = images.copy()
    changed[0, 0, 0, 0] ^= 255
    assert classifier_features(store, changed, labels).digest != before


@pytest.mark.parametrize("label", [0, 3])
def test_classifier_of_a_single_class_is_refused(tmp_path, digits, label):
    images, labels = digits
    with pytest.raises(DataError, match="two classes"):
        classifier_features(open_store(str(tmp_path)), images, np.full_like(labels, label))
