"""Captions whose ends no network hears: how many there are, whichever stage asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.blobs import BlobStore
from atoll.command import say
from atoll.config import Config
from atoll.encoded import find_encoded, wanted_by


def tell_of_cut(store: BlobStore, config: Config, partition: Mapping[str, Any]) -> None:
    """Say how many captions are longer than they are heard, if any are.

    Args:
        store: of the run.
        config: of the run; ``captions.tokens`` may have changed since it was partitioned.
        partition: the stage's result, as JSON.
    """
    if config.expert.condition != "text":
        return
    if wanted_by(config)["captions.encoder"] is None:
        tokens = config.captions.tokens
        longer = (num for words, num in partition["caption_words"] if 0 < tokens < words)
        _tell(sum(longer), tokens)
    elif texts := find_encoded(store, "captions", partition["digest"]):
        _tell(texts["num_cut"], texts["tokens"])


def _tell(num: int, tokens: int) -> None:
    room = f"captions.tokens = {tokens}" if tokens else "what the model takes"
    if num:
        say(f"{num:,} captions are longer than {room}: their ends are not heard")
