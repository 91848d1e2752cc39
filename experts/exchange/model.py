"""An expert outside of any run: a folder of one safetensors file and a card for people.

The file's own metadata tell what network the weights are of, so the file alone is enough.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from atoll.errors import BadInput
from atoll.expert_file import KEY, WEIGHTS, read_about, weights_file

CARD = "README.md"


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Weights, and what they are of.

    Attributes:
        about: as a checkpoint tells it (:attr:`experts.task.Task.about`): sizes, shape,
            conditioning, dialect; with ``objective``, ``class_names`` and ``made``.
        weights: a state dict.
    """

    about: dict[str, Any]
    weights: dict[str, Tensor]


def write_model(
    folder: Path, model: Model, card: str, name: str = WEIGHTS, others: Mapping[str, str] = {}
) -> None:
    """Write a model's folder.

    Args:
        folder: new, or empty.
        model: what goes into the file.
        card: text of the card.
        name: of the file.
        others: text of files beside it, by name.

    Raises:
        BadInput: something is there already, or nothing can be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BadInput(f"{folder} is not empty; choose another --out")
        # diffusers and others ask for the format; the rest is ours.
        metadata = {"format": "pt", KEY: json.dumps(model.about)}
        weights = {key: tensor.contiguous() for key, tensor in model.weights.items()}
        (folder / name).write_bytes(save(weights, metadata))
        for other, text in {CARD: card, **others}.items():
            (folder / other).write_text(text, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{folder} cannot be written: {error}; choose another --out") from error


def read_model(path: Path, device: str = "cpu") -> Model:
    """A model out of its file or folder.

    Raises:
        BadInput: there is no such file, or it is no expert's.
    """
    return Model(read_about(path), load_file(weights_file(path), device=device))
