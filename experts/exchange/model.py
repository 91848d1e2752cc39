"""An expert outside of any run: a folder of one safetensors file and a card for people.

The file's own metadata tell what network the weights are of, so the file alone is enough.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from atoll.errors import BadInput

WEIGHTS = "model.safetensors"
CARD = "README.md"
_KEY = "atoll"


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
        metadata = {"format": "pt", _KEY: json.dumps(model.about)}
        weights = {key: tensor.contiguous() for key, tensor in model.weights.items()}
        (folder / name).write_bytes(save(weights, metadata))
        for other, text in {CARD: card, **others}.items():
            (folder / other).write_text(text, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{folder} cannot be written: {error}; choose another --out") from error


def read_about(path: Path) -> dict[str, Any]:
    """What a model's file tells of it, or that in a model's folder; the weights are not read.

    Raises:
        BadInput: there is no such file, or it is no expert's.
    """
    about = told_in(weights_file(path))
    if about is None:
        raise BadInput(f"{path} does not tell what network it holds; `atoll import` finds that out")
    return about


def told_in(file: Path) -> dict[str, Any] | None:
    """What the metadata of a safetensors file tell; None if another program wrote it.

    Raises:
        BadInput: the file is none.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{file} cannot be read as safetensors: {error}") from error
    if _KEY not in metadata:
        return None
    about: dict[str, Any] = json.loads(metadata[_KEY])
    return about


def read_model(path: Path, device: str = "cpu") -> Model:
    """A model out of its file or folder.

    Raises:
        BadInput: there is no such file, or it is no expert's.
    """
    return Model(read_about(path), load_file(weights_file(path), device=device))


def weights_file(path: Path) -> Path:
    """The file of a model, which may be given as its folder.

    Raises:
        BadInput: it is not there.
    """
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise BadInput(
            f"{file} is not there; name the folder or file of an expert that `atoll export` or "
            "`atoll import` wrote"
        )
    return file
