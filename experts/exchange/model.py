"""An expert outside of any run: a folder of one safetensors file and a card for people.

The file's own metadata tell what network the weights are of, so the file alone is enough.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from atoll.errors import BadInput
from atoll.expert_file import KEY, WEIGHTS, read_about, unreadable, weights_file
from experts.networks import network_like

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


def write_model(  # noqa: PLR0917 - all that goes into the folder
    folder: Path,
    model: Model,
    card: str,
    name: str = WEIGHTS,
    others: Mapping[str, str] = {},
    folders: Mapping[str, Path] = {},
) -> None:
    """Write a model's folder.

    Args:
        folder: new, or empty.
        model: what goes into the file.
        card: text of the card.
        name: of the file.
        others: text of files beside it, by name.
        folders: copied beside it, by name.

    Raises:
        BadInput: something is there already, or nothing can be written.
    """
    # diffusers and others ask for the format; the rest is ours.
    metadata = {"format": "pt", KEY: json.dumps(model.about)}
    weights = {key: tensor.contiguous() for key, tensor in model.weights.items()}
    try:
        if folder.exists() and any(folder.iterdir()):
            raise BadInput(f"{folder} is not empty; choose another --out")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
            made = Path(beside, "made")
            made.mkdir()
            (made / name).write_bytes(save(weights, metadata))
            for other, text in {CARD: card, **others}.items():
                (made / other).write_text(text, encoding="utf-8")
            for other, source in folders.items():
                shutil.copytree(source, made / other)
            made.rename(folder)  # whole, or not at all; in place of an empty one
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{folder} cannot be written: {error}; choose another --out") from error


def read_model(path: Path, device: str = "cpu") -> Model:
    """A model out of its file or folder.

    Raises:
        BadInput: there is no such file, or it is no expert's, or not all of one.
    """
    about, file = read_about(path), weights_file(path)
    try:
        model = Model(about, load_file(file, device=device))
    except (OSError, SafetensorError) as error:
        raise unreadable(file, error) from error
    refuse_other_weights(model, file)
    return model


def refuse_other_weights(model: Model, source: Path) -> None:
    """Refuse weights that are not those of the network they are told to be of.

    Raises:
        BadInput: names the first that differs.
    """
    with torch.device("meta"):
        wanted = network_like(model.about).state_dict()
    kind = "MMDiT" if "double" in model.about["sizes"] else "DiT"
    for name in sorted(wanted.keys() | model.weights.keys()):
        for there, verb in ((wanted, "has"), (model.weights, "lacks")):
            if name not in there:
                raise BadInput(f"{source} is of no {kind}: it {verb} {name}")
        shapes = [tuple(each[name].shape) for each in (model.weights, wanted)]
        if shapes[0] != shapes[1]:
            raise BadInput(
                f"{source} is of no {kind}: its {name} is of shape {shapes[0]}, not {shapes[1]}"
            )
