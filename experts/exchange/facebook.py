"""Checkpoints of facebookresearch/DiT, and of SiT, which has the same keys and shapes.

Source: Peebles & Xie (arXiv 2212.09748) and Ma et al., SiT (arXiv 2401.08740), for the networks.
"""

from __future__ import annotations

import argparse
import math
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from atoll.errors import BadInput
from atoll.sizes import DITS, Sizes

# What the unpickler comes upon in files that are none.
_BROKEN = (
    *(OSError, EOFError, RuntimeError, ValueError, LookupError),
    *(TypeError, AttributeError, struct.error, SafetensorError),
)
_BODIES = {(sizes.width, sizes.depth): sizes.heads for sizes in DITS.values()}


def read_pickle(file: Path) -> dict[str, Tensor]:
    """The weights in a ``.pt`` file, the averaged ones where there are several.

    It is read by torch's restricted unpickler, which builds tensors and plain containers, and here
    the flags of a training program; nothing in the file is run.

    Raises:
        BadInput: the file holds anything else, or no weights.
    """
    try:
        with (
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(action="ignore"),  # of pickles by other programs than torch
        ):
            tree: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(file):  # as torch has written them since 2020
            raise BadInput(_unreadable(file)) from error
        raise BadInput(
            f"{file} holds more than tensors, and reading it would run what its writer put there; "
            "have it saved again as a state dict alone"
        ) from error
    except _BROKEN as error:
        raise BadInput(_unreadable(file)) from error
    for name in ("ema", "model", "state_dict"):
        if isinstance(tree, dict) and isinstance(tree.get(name), dict):
            tree = tree[name]
            break
    if not isinstance(tree, dict) or not all(isinstance(part, Tensor) for part in tree.values()):
        raise BadInput(
            f"{file} holds no state dict of a network; give the checkpoint that DiT's or SiT's "
            "training wrote"
        )
    return {str(key).removeprefix("module."): part.float() for key, part in tree.items()}


def _unreadable(file: Path) -> str:
    return (
        f"{file} is no checkpoint of torch, or damaged, or holds more than tensors, which to read "
        "would run what its writer put there; give a whole .pt file, saved as a state dict alone"
    )


def describe(weights: Mapping[str, Tensor], heads: int | None, name: str) -> dict[str, Any]:
    """What a network's weights tell of it, see :class:`experts.exchange.model.Model`.

    Args:
        weights: under facebook's names.
        heads: of attention; None for those of the paper's body of this width and depth.
        name: for errors.

    Raises:
        BadInput: they are of another network; or how many heads it has cannot be told.
    """
    try:
        patches, positions = weights["x_embedder.proj.weight"], weights["pos_embed"]
        labels = weights["y_embedder.embedding_table.weight"]
        final = weights["final_layer.linear.bias"]
    except KeyError as error:
        raise BadInput(
            f"{name} is of no DiT: it has no {error}; what can be imported is a DiT or SiT"
        ) from error
    width, channels, patch, _ = patches.shape
    depth = len({key.split(".")[1] for key in weights if key.startswith("blocks.")})
    heads = heads or _BODIES.get((width, depth))
    if heads is None or width % heads:
        raise BadInput(
            f"{name} has {depth} blocks of width {width}, and weights do not tell how many heads "
            "share it; give --heads, which divides the width"
        )
    side = math.isqrt(positions.shape[1])
    if side**2 != positions.shape[1]:
        raise BadInput(f"{name} is of images that are not square: {positions.shape[1]} patches")
    if len(final) % (channels * patch**2) or len(final) > 2 * channels * patch**2:
        raise BadInput(f"{name} gives {len(final)} numbers for a patch, which no DiT does")
    return {
        "sizes": asdict(Sizes(width, depth, heads, patch)),
        "shape": [channels, side * patch, side * patch],
        "conditioning": {"kind": "class", "size": len(labels) - 1, "encoder": ""},
    }


def without_sigma(weights: Mapping[str, Tensor], channels: int, patch: int) -> dict[str, Tensor]:
    """The same network without its learned variance: the first half of its outputs is kept.

    Channels come last within a patch, so that half is every patch position's first ``channels``.

    Args:
        weights: under facebook's names.
        channels: of an image.
        patch: pixels along the side of a token.
    """
    found = dict(weights)
    for name in ("final_layer.linear.weight", "final_layer.linear.bias"):
        each = weights[name]
        each = each.reshape(patch**2, -1, *each.shape[1:])  # (patch * patch, C or 2 C, ...)
        found[name] = each[:, :channels].flatten(0, 1)
    return found


def reversed_in_time(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network that gives the velocity towards noise, of one that gives it towards data."""
    final = {name: -part for name, part in weights.items() if name.startswith("final_layer.linear")}
    return {**weights, **final}
