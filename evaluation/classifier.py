"""The offline yardstick: features of a small classifier of the real images."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F

from atoll import layout
from atoll.blobs import BlobStore
from atoll.digests import digest_of
from atoll.errors import DataError
from evaluation.threads import single_threaded
from experts.flow import seeded

_FEATURES = 64
_STEPS = 400
_BATCH = 128
_LEARNING_RATE = 2e-3
_TRAINING = 1  # counts the ways train() has worked, apart from the numbers above
_log = logging.getLogger(__name__)

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


class Classifier(nn.Module):
    """Three convolutions and one hidden layer, whose activations are the features.

    Features are scaled so that their mean square over the real images is 1: distances then mean
    the same whatever size the training happened to give them.

    Args:
        shape: height, width, channels of the images.
        num_classes: how many it tells apart.
    """

    accuracy: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        height, width, channels = shape
        # Whatever the image's size, the second convolution works on about 16 x 16.
        stride = max(1, round(max(height, width) / 16))
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, stride + 2, stride, 1),
            nn.GELU(),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.GELU(),
            nn.Conv2d(64, 64, 3, 2, 1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(256, _FEATURES),
            nn.GELU(),
        )
        self.head = nn.Linear(_FEATURES, num_classes)
        self.register_buffer("accuracy", torch.tensor(0.0))
        self.register_buffer("scale", torch.tensor(1.0))

    def features(self, images: Tensor) -> Tensor:
        """Features (B, 64) of images (B, C, H, W) in [-1, 1]."""
        found: Tensor = self.body(images) * self.scale
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes) of images (B, C, H, W) in [-1, 1]."""
        logits: Tensor = self.head(self.body(images))
        return logits


class ClassifierFeatures:
    """The extractor made of a trained :class:`Classifier`."""

    name = "classifier"

    def __init__(self, network: Classifier, digest: str) -> None:
        self._network = network.eval()
        self.digest = digest

    @property
    def accuracy(self) -> float:
        """Share of held-out real images it classifies rightly."""
        return float(self._network.accuracy)

    def __call__(self, images: Images) -> NDArray[np.float32]:
        """See :class:`evaluation.extractor.Extractor`."""
        with torch.inference_mode():
            parts = [self._network.features(_scaled(part)) for part in _batches(images)]
        features: NDArray[np.float32] = torch.cat(parts).numpy()
        return features


def classifier_features(store: BlobStore, images: Images, labels: Labels) -> ClassifierFeatures:
    """The extractor for some real data: trained once, then found in the run.

    It depends on the data alone, not on the run's seed nor on the order of the samples, so that
    all runs over one data set are measured with one yardstick.

    Args:
        store: of the run.
        images: (N, H, W, C).
        labels: (N,), classes or, where there are not two, clusters.

    Raises:
        DataError: one class alone teaches nothing.
    """
    images, labels, digest = _in_order(images, labels)
    if labels.min() == labels.max():
        raise DataError(
            "the classifier that measures the images needs two classes or clusters at least; "
            'set evaluation.extractor to { transformers = "…" }'
        )
    network = Classifier(tuple(images.shape[1:]), int(labels.max()) + 1)
    key = layout.extractor_weights(_key(digest, network))
    if not store.exists(key):
        with single_threaded():
            train(network, images, labels)
        store.publish(key, save(dict(network.state_dict())))
        _log.info(
            "classifier trained", extra={"fields": {"held_out_accuracy": float(network.accuracy)}}
        )
    weights = store.get_bytes(key)
    network.load_state_dict(load(weights))
    return ClassifierFeatures(network, hashlib.sha256(weights).hexdigest())


def train(network: Classifier, images: Images, labels: Labels) -> None:
    """Train on nine tenths of the samples, measure the accuracy on the tenth."""
    generator = seeded(torch.device("cpu"), 0)
    _initialise(network, generator)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=_STEPS)
    order = torch.randperm(len(images), generator=generator).numpy()
    held_out, used = order[: max(1, len(order) // 10)], order[len(order) // 10 :]
    for _ in range(_STEPS):
        batch = used[torch.randint(len(used), (_BATCH,), generator=generator).numpy()]
        loss = F.cross_entropy(network(_scaled(images[batch])), torch.from_numpy(labels[batch]))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    with torch.inference_mode():
        right = [
            network(_scaled(images[part])).argmax(1).numpy() == labels[part]
            for part in np.array_split(held_out, max(1, len(held_out) // _BATCH))
        ]
        squares = [network.body(_scaled(part)).square().mean(1) for part in _batches(images)]
    network.accuracy.fill_(float(np.concatenate(right).mean()))
    network.scale.copy_(torch.cat(squares).mean().rsqrt())


def _key(data: str, network: Classifier) -> str:
    """Digest of all that the weights follow from: the data, the layers, the training."""
    return digest_of([data, repr(network), _STEPS, _BATCH, _LEARNING_RATE, _TRAINING])


def _initialise(network: Classifier, generator: torch.Generator) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, generator=generator)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)


def _in_order(images: Images, labels: Labels) -> tuple[Images, Labels, str]:
    """Samples sorted by their own content, and the digest of them all."""
    keys = [
        hashlib.sha256(image.tobytes() + label.tobytes()).digest()
        for image, label in zip(images, labels, strict=True)
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    digest = hashlib.sha256(b"".join(keys[i] for i in order)).hexdigest()
    return images[order], labels[order], digest


def _scaled(images: Images) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def _batches(images: Images) -> list[Images]:
    return [images[start : start + 512] for start in range(0, len(images), 512)]
