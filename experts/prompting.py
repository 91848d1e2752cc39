"""What encodes a prompt as the captions were that an ensemble has learned from."""

from __future__ import annotations

from pathlib import Path

import torch

from atoll.blobs import BlobStore
from atoll.errors import BadInput, CheckpointMismatch
from experts.condition import Conditioning
from partition.manifest import Partition
from partition.model_files import fetch_model, find_model
from partition.text import HashedNgrams, TextEncoder

ENCODER = "text_encoder"  # folder of the text model beside an expert outside of any run


def ngrams_of(conditioning: Conditioning) -> HashedNgrams | None:
    """What encodes captions when they are read; None where a model did it before, or nothing."""
    encoder = HashedNgrams(conditioning.size, conditioning.tokens)
    return encoder if conditioning.encoder == encoder.name else None


def prompt_encoder(
    store: BlobStore,
    partition: Partition,
    conditioning: Conditioning,
    cache: Path,
    device: torch.device,
) -> TextEncoder | None:
    """The encoder of a run's captions, for prompts; None where networks are told no text.

    Args:
        store: of the run, which keeps the model.
        partition: whose captions were encoded.
        conditioning: of the run's networks.
        cache: folder for copies from a store that is not on this machine.
        device: for a model.

    Raises:
        CheckpointMismatch: networks have learned from captions of another encoder.
        BadInput: the model cannot be loaded.
    """
    if conditioning.kind != "text" or (ngrams := ngrams_of(conditioning)) is not None:
        return None if conditioning.kind != "text" else ngrams
    texts = partition.texts
    if texts is None or texts.encoder != conditioning.encoder:
        kept = (
            "its partition has none" if texts is None else f"those of its partition {texts.encoder}"
        )
        raise CheckpointMismatch(
            f"the networks of this run have learned from captions that {conditioning.encoder} "
            f"encoded, and {kept}; train them again under a run.uri of their own"
        )
    from partition.text_model import open_text_model  # noqa: PLC0415 - optional

    folder = fetch_model(store, texts.model, cache)
    return open_text_model(folder, texts.model, texts.tokens, device)


def encoder_beside(
    expert: Path, conditioning: Conditioning, device: torch.device
) -> TextEncoder | None:
    """Likewise for an expert outside of any run, whose folder has the model in it.

    Args:
        expert: folder, or file in it.
        conditioning: of the expert.
        device: for a model.

    Raises:
        BadInput: the model is not there, or is another one.
    """
    if conditioning.kind != "text" or (ngrams := ngrams_of(conditioning)) is not None:
        return None if conditioning.kind != "text" else ngrams
    folder = (expert if expert.is_dir() else expert.parent) / ENCODER
    if not folder.is_dir():
        raise BadInput(
            f"{expert} is told by text that {conditioning.encoder} encodes, and that model is not "
            f"beside it; put its folder there as {folder.name}, or export the expert again"
        )
    model = find_model(str(folder), "--expert", "transformers")
    from partition.text_model import open_text_model  # noqa: PLC0415 - optional

    encoder = open_text_model(folder, model.digest, conditioning.tokens, device)
    if encoder.name != conditioning.encoder:
        raise BadInput(
            f"{expert} is told by text that {conditioning.encoder} encodes, and {folder} is "
            f"{encoder.name}; put the right model there, or export the expert again"
        )
    return encoder
