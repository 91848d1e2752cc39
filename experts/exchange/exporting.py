"""From a trained expert to a folder that others can use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from atoll import checkpoints
from atoll.blobs import BlobStore
from atoll.config import Config
from atoll.sizes import Sizes
from atoll.types import CheckpointRef
from experts.alignment import without_aligner
from experts.condition import Conditioning
from experts.dialect import Dialect
from experts.exchange import diffusers
from experts.exchange.card import card
from experts.exchange.model import Model, write_model
from experts.files import EMA
from experts.profiles import told_in
from experts.prompting import ENCODER
from partition.model_files import fetch_model
from partition.stage import load_partition

_RECIPE = ("learning_rate", "weight_decay", "times", "precision")


def expert_model(
    store: BlobStore,
    config: Config,
    job: str,
    ref: CheckpointRef,
    cache: Path,
) -> Model:
    """A trained expert, or the monolith, with its averaged weights and what made them.

    An aligner is left out: it takes part in training alone.

    Args:
        store: where the run is.
        config: of the run.
        job: which.
        ref: its checkpoint; every byte is verified.
        cache: folder for copies from a store that is not on this machine.

    Raises:
        CheckpointDamaged: a file is gone, or a byte of it is not what was written.
    """
    partition = load_partition(store, "export")
    folder = checkpoints.download(store, ref, cache, made_by="train", names=(EMA,))
    training = config.training.model_dump(mode="json", include=set(_RECIPE))
    about: dict[str, Any] = {
        **folder.about,
        "class_names": list(partition.class_names),
        "compat": folder.compat,
        "made": {
            "job": job,
            "run": config.run.uri.rstrip("/").rpartition("/")[2],
            "partition": f"{partition.num_experts} clusters, {partition.digest[:12]}",
            "step": ref.step,
            "checkpoint": ref.digest[:12],
            **training,
            "batch_size": folder.about["batch_size"],
            **told_in(folder.about),
        },
    }
    if partition.latents is not None:
        told = {"model": partition.latents.model, "vae": config.latents.vae}
        scaling = {"scale": partition.latents.scale, "shift": partition.latents.shift}
        about["latents"] = {**told, **scaling}
    if config.expert.init is not None:
        about["made"]["begun from"] = Path(config.expert.init).name
    return Model(about, without_aligner(load_file(folder.files[EMA])))


def text_model(store: BlobStore, model: Model, cache: Path) -> Path | None:
    """The text model that captions were encoded by; None for an expert that needs none.

    Args:
        store: of the run that the expert is of.
        model: the expert.
        cache: folder for copies from a store that is not on this machine.
    """
    conditioning = Conditioning(**model.about["conditioning"])
    texts = load_partition(store, "export").texts
    if texts is None or texts.encoder != conditioning.encoder:
        return None
    return fetch_model(store, texts.model, cache)


def write_ours(folder: Path, model: Model, encoder: Path | None = None) -> None:
    """One safetensors file and a card.

    Args:
        folder: new, or empty.
        model: the expert.
        encoder: folder of the text model that encodes its prompts; is copied beside it.

    Raises:
        BadInput: something is there already, or nothing can be written.
    """
    beside = {} if encoder is None else {ENCODER: encoder}
    write_model(folder, model, card(model), folders=beside)


def write_diffusers(folder: Path, model: Model) -> None:
    """What ``DiTTransformer2DModel.from_pretrained`` reads, and a card.

    Raises:
        BadInput: diffusers has no such network; or something is there already.
    """
    about = model.about
    diffusers.refuse_inexpressible(about)
    sizes, dialect = Sizes(**about["sizes"]), Dialect(**about.get("dialect", {}))
    conditioning = Conditioning(**about["conditioning"])
    config = diffusers.config_of(sizes, conditioning, about["shape"], dialect)
    theirs = Model(about, diffusers.theirs_from(model.weights, sizes.depth))
    write_model(
        folder,
        theirs,
        card(model, in_diffusers=True),
        diffusers.FILE,
        {diffusers.CONFIG: json.dumps(config, indent=2) + "\n"},
    )
