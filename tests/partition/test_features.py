import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from atoll.errors import BadInput, DataError
from partition.features import restore_features
from partition.pca import PcaFeatures, fit_pca
from partition.pixels import to_unit
from partition.vision import VisionFeatures


class Given:
    """Images that are at hand."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = images
        self.shape = images.shape[1:]

    def images(self, num: int, most: int | None = None) -> Iterator[np.ndarray]:
        shown = self._images if most is None else self._images[:: -(-len(self._images) // most)]
        for first in range(0, len(shown), num):
            yield shown[first : first + num]


def fit(images: np.ndarray, dims: int) -> PcaFeatures:
    return fit_pca(Given(images), dims, lambda *_: None)


def images_of_rank(rank: int, num: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    mixed = generator.standard_normal((num, rank)) @ generator.standard_normal((rank, 48))
    return (128 + 20 * mixed).clip(0, 255).astype(np.uint8).reshape(num, 4, 4, 3)


@pytest.fixture(params=[4096, 0], ids=["covariance", "incremental"])
def most_pixels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small images, or as if they were too large for their covariance."""
    monkeypatch.setattr("partition.pca._MOST_PIXELS", request.param)


@pytest.mark.usefixtures("most_pixels")
def test_pca_equals_scikit_learns_up_to_sign() -> None:
    images = images_of_rank(6, 300)
    flat = to_unit(images).reshape(300, -1)
    ours, theirs = fit(images, 5), PCA(5).fit(flat)
    agreement = np.abs((ours.components * theirs.components_).sum(1))
    assert agreement == pytest.approx(np.ones(5), abs=1e-3)
    assert np.abs(ours.transform(images)) == pytest.approx(np.abs(theirs.transform(flat)), abs=0.02)


@pytest.mark.usefixtures("most_pixels")
def test_pca_in_many_batches_spans_nearly_the_same_space(monkeypatch: pytest.MonkeyPatch) -> None:
    images = images_of_rank(4, 301)
    whole = fit(images, 6)
    monkeypatch.setattr("partition.pca._BATCH_BYTES", 0)  # batches of 6 images, and a last one of 1
    batched = fit(images, 6)
    shared = np.linalg.svd(whole.components[:4] @ batched.components.T, compute_uv=False)
    assert shared.min() > 0.99


@pytest.mark.usefixtures("most_pixels")
def test_pca_of_many_images_is_that_of_some(monkeypatch: pytest.MonkeyPatch) -> None:
    images = images_of_rank(6, 300)
    some = fit(images[::3], 5)
    monkeypatch.setattr("partition.pca._MOST", 100)
    assert np.array_equal(fit(images, 5).components, some.components)


@pytest.mark.usefixtures("most_pixels")
@pytest.mark.parametrize(("num", "dims"), [(3, 3), (100, 48)])
def test_pca_dims_are_clipped_to_what_the_data_allow(num: int, dims: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (num, 4, 4, 3), np.uint8)
    assert fit(images, 1000).transform(images).shape == (num, dims)


def test_components_of_batches_are_those_of_the_whole_exactly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = images_of_rank(6, 301)
    whole = fit(images, 6)
    monkeypatch.setattr("partition.pca._BATCH_BYTES", 0)
    assert fit(images, 6).components == pytest.approx(whole.components, abs=1e-5)
    centred = to_unit(images).reshape(301, -1) - whole.mean
    variances = np.linalg.eigvalsh(centred.T.astype(np.float64) @ centred)[::-1][:6]
    assert np.square(centred @ whole.components.T).sum(0) == pytest.approx(variances, rel=1e-4)


@pytest.mark.usefixtures("most_pixels")
def test_pca_of_equal_images_is_all_zeros() -> None:
    images = np.full((20, 4, 4, 1), 7, np.uint8)
    assert np.abs(fit(images, 3).transform(images)).max() == 0


@pytest.mark.usefixtures("most_pixels")
def test_pca_of_one_image_is_refused() -> None:
    with pytest.raises(DataError, match="a single sample"):
        fit(np.zeros((1, 4, 4, 1), np.uint8), 3)


def test_pca_restored_from_its_arrays_is_the_same() -> None:
    images = images_of_rank(6, 50)
    fitted = fit(images, 5)
    again = restore_features(fitted.arrays())
    assert np.array_equal(again.transform(images), fitted.transform(images))


@pytest.fixture(scope="module")
def tiny_dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    Dinov2Model(config).save_pretrained(folder)
    sizes: dict[str, Any] = {
        "size": {"shortest_edge": 28},
        "crop_size": {"height": 28, "width": 28},
    }
    BitImageProcessorPil(**sizes).save_pretrained(folder)
    return folder


def test_vision_features_are_one_class_token_an_image(tiny_dinov2: Path) -> None:
    from transformers import AutoImageProcessor, Dinov2Model

    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    vectors = VisionFeatures(str(tiny_dinov2)).transform(images)
    inputs = AutoImageProcessor.from_pretrained(tiny_dinov2)(list(images), return_tensors="pt")
    model = Dinov2Model.from_pretrained(tiny_dinov2).eval()
    with torch.inference_mode():
        tokens = model(**inputs).last_hidden_state
    assert vectors.shape == (3, 32)
    assert vectors == pytest.approx(tokens[:, 0].numpy(), abs=1e-5)


def test_vision_features_of_grey_are_those_of_it_repeated(tiny_dinov2: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), np.uint8)
    model = VisionFeatures(str(tiny_dinov2))
    assert np.array_equal(model.transform(grey), model.transform(grey.repeat(3, -1)))
    again = restore_features(model.arrays())
    assert np.array_equal(again.transform(grey), model.transform(grey))


def test_vision_features_of_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"image model '.*none' cannot be loaded"):
        VisionFeatures(str(tmp_path / "none"))


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed")
def test_vision_features_of_a_model_whose_configuration_is_odd_are_refused(
    tiny_dinov2: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_dinov2, tmp_path / "odd")
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**told, "num_hidden_layers": "two"}))
    with pytest.raises(BadInput, match=r"cannot be loaded from a folder .* \(.*\); give a folder"):
        VisionFeatures(str(folder))


def test_vision_features_of_timm_without_it_say_what_to_install(tmp_path: Path) -> None:
    about = {"architecture": "a", "model_type": "timm_wrapper", "pretrained_cfg": {}}
    (tmp_path / "config.json").write_text(json.dumps(about))
    with pytest.raises(BadInput, match=r"is one of timm's; run `pip install timm`"):
        VisionFeatures(str(tmp_path))


def test_vision_features_refused_without_a_word_are_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import AutoImageProcessor

    def speechless(_: str) -> None:
        raise OSError

    monkeypatch.setattr(AutoImageProcessor, "from_pretrained", speechless)
    with pytest.raises(BadInput, match=r"nor from the hub \(OSError\)"):
        VisionFeatures("some/model")


def test_vision_features_never_load_pickled_weights(tiny_dinov2: Path, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((tiny_dinov2 / name).read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match="cannot be loaded"):
        VisionFeatures(str(tmp_path))
