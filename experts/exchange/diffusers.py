"""Weights and configuration as ``DiTTransformer2DModel`` of diffusers has them.

There every block embeds time and class by weights of its own, which in a DiT are the same in all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from atoll.errors import BadInput
from atoll.expert_file import WEIGHTS
from atoll.sizes import Sizes
from experts.condition import Conditioning
from experts.dialect import DIFFUSERS, OURS, Dialect
from experts.embeddings import sincos_positions

CONFIG = "config.json"
FILE = "diffusion_pytorch_model.safetensors"
_CLASSES = ("DiTTransformer2DModel", "Transformer2DModel")
_EXPECTED = {
    "norm_type": "ada_norm_zero",
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "norm_elementwise_affine": False,
}
_KINDS = ("weight", "bias")
_TABLE = "norm1.emb.class_embedder.embedding_table.weight"
_TIMES = "norm1.emb.timestep_embedder.linear_"


def network_folder(folder: Path) -> Path:
    """Where the network lies in a folder: itself, or beneath, as in a pipeline's."""
    beneath = folder / "transformer"
    return beneath if (beneath / CONFIG).is_file() else folder


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and weights in a model's folder, or in a pipeline's that holds one.

    Raises:
        BadInput: they are not there, or of another network.
    """
    folder = network_folder(folder)
    if (folder / WEIGHTS).is_file() and not (folder / CONFIG).is_file():
        raise BadInput(f"{folder} is an expert as Atoll keeps them; use it as it is")
    missing = next((name for name in (CONFIG, FILE) if not (folder / name).is_file()), None)
    if missing:
        raise BadInput(
            f"{folder} holds no {missing}; give the folder that diffusers' save_pretrained wrote"
        )
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        weights = load_file(folder / FILE)
    except (OSError, ValueError, SafetensorError) as error:
        raise BadInput(f"{folder} cannot be read: {error}") from error
    if config.get("_class_name") not in _CLASSES:
        raise BadInput(f"{folder} holds a {config.get('_class_name')}, not a {_CLASSES[0]}")
    for key, expected in _EXPECTED.items():
        if config.get(key, expected) != expected:
            raise BadInput(
                f"{folder / CONFIG}: {key} = {config[key]!r}, and a DiT has {expected!r}"
            )
    return config, {key: part.float() for key, part in weights.items()}


def dialect_of(config: Mapping[str, Any]) -> Dialect:
    """How diffusers computes with weights under this configuration."""
    eps = config.get("norm_eps", DIFFUSERS.mlp_eps)
    return Dialect(divisor=DIFFUSERS.divisor, mlp_eps=float(eps))


def ours_from(config: Mapping[str, Any], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's weights under facebook's names.

    Raises:
        BadInput: one is missing, or the blocks do not embed times and classes alike.
    """
    try:
        return _renamed(config, theirs)
    except KeyError as error:
        raise BadInput(f"the folder holds no DiT: there is no {error}") from error


def _renamed(config: Mapping[str, Any], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    depth = config["num_layers"]
    for block in range(1, depth):
        _refuse_another_embedding(theirs, block)
    found = {
        f"{ours}.{kind}": theirs[f"{name}.{kind}"]
        for ours, name in _names(depth)
        for kind in _KINDS
    }
    found["y_embedder.embedding_table.weight"] = theirs[f"transformer_blocks.0.{_TABLE}"]
    for block in range(depth):
        for kind in _KINDS:
            parts = [theirs[f"transformer_blocks.{block}.attn1.to_{part}.{kind}"] for part in "qkv"]
            found[f"blocks.{block}.attn.qkv.{kind}"] = torch.cat(parts)
    width = config["num_attention_heads"] * config["attention_head_dim"]
    side = config["sample_size"] // config["patch_size"]
    return {"pos_embed": sincos_positions(side, side, width), **found}


def theirs_from(weights: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """The same the other way: facebook's names in, those of diffusers out."""
    found = {
        f"{name}.{kind}": weights[f"{ours}.{kind}"]
        for ours, name in _names(depth)
        for kind in _KINDS
    }
    for block in range(depth):
        there = f"transformer_blocks.{block}"
        found[f"{there}.{_TABLE}"] = weights["y_embedder.embedding_table.weight"].clone()
        for kind in _KINDS:
            for number in (1, 2):
                first = weights[f"t_embedder.mlp.{2 * number - 2}.{kind}"]
                found[f"{there}.{_TIMES}{number}.{kind}"] = first.clone()
            parts = weights[f"blocks.{block}.attn.qkv.{kind}"].chunk(3)
            for part, tensor in zip("qkv", parts, strict=True):
                found[f"{there}.attn1.to_{part}.{kind}"] = tensor
    return found


def config_of(
    sizes: Sizes, conditioning: Conditioning, shape: list[int], dialect: Dialect
) -> dict[str, Any]:
    """What diffusers builds such a network from."""
    return {
        "_class_name": _CLASSES[0],
        **_EXPECTED,
        "num_attention_heads": sizes.heads,
        "attention_head_dim": sizes.width // sizes.heads,
        "in_channels": shape[0],
        "out_channels": shape[0],
        "num_layers": sizes.depth,
        "patch_size": sizes.patch,
        "sample_size": shape[1],
        "num_embeds_ada_norm": conditioning.size,
        "norm_eps": dialect.mlp_eps,
        "dropout": 0.0,
        "upcast_attention": False,
    }


def refuse_inexpressible(about: Mapping[str, Any]) -> None:
    """Refuse a network that diffusers' DiT cannot be.

    Raises:
        BadInput: says why.
    """
    kind, (_, height, width) = about["conditioning"]["kind"], about["shape"]
    dialect = Dialect(**about.get("dialect", {}))
    why = None
    if "double" in about["sizes"]:
        why = "is an MMDiT"
    elif about["sizes"].get("frames", 1) > 1:
        why = "paints videos, in blocks over space and over time"
    elif about["sizes"].get("modulation", "block") != "block":
        why = "has one modulation for all blocks"
    elif kind != "class":
        why = f"is conditioned on {kind}, and that embeds a class always"
    elif height != width:
        why = f"paints {height} x {width} pixels, and that squares alone"
    elif (dialect.scale, dialect.offset) != (OURS.scale, OURS.offset):
        why = "embeds times as SiT does"
    elif about["objective"] != "velocity":
        told = {"epsilon": "the noise", "v": "v"}[about["objective"]]
        why = f"tells {told}, and that a velocity"
    if why:
        raise BadInput(
            f"diffusers has no network for this expert, which {why}; export it --for atoll"
        )


def _names(depth: int) -> Iterator[tuple[str, str]]:
    """Layers whose weights are the same tensors, facebook's name first."""
    yield "x_embedder.proj", "pos_embed.proj"
    yield "final_layer.adaLN_modulation.1", "proj_out_1"
    yield "final_layer.linear", "proj_out_2"
    for number in (1, 2):
        yield f"t_embedder.mlp.{2 * number - 2}", f"transformer_blocks.0.{_TIMES}{number}"
    for block in range(depth):
        here, there = f"blocks.{block}", f"transformer_blocks.{block}"
        yield f"{here}.adaLN_modulation.1", f"{there}.norm1.linear"
        yield f"{here}.attn.proj", f"{there}.attn1.to_out.0"
        yield f"{here}.mlp.fc1", f"{there}.ff.net.0.proj"
        yield f"{here}.mlp.fc2", f"{there}.ff.net.2"


def _refuse_another_embedding(theirs: Mapping[str, Tensor], block: int) -> None:
    first, other = "transformer_blocks.0.", f"transformer_blocks.{block}."
    names = [f"{_TIMES}{number}.{kind}" for number in (1, 2) for kind in _KINDS]
    for name in (_TABLE, *names):
        if not torch.equal(theirs[first + name], theirs[other + name]):
            raise BadInput(
                f"block {block} embeds times and classes otherwise than the first does, as it "
                "comes of training in diffusers; a DiT has one embedding, so it is none"
            )
