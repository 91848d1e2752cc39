"""Captions whose ends no network hears: how many there are, whichever stage asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.blobs import BlobStore
from atoll.config import Config
from atoll.encoded import find_encoded, wanted_by


def told_of_cut(store: BlobStore, config: Config, partition: Mapping[str, Any]) -> str:
    """What is to be said of captions that are longer than they are heard; "" for nothing.

    Args:
        store: of the run.
        config: of the run; ``captions.tokens`` may have changed since it was partitioned.
        partition: the stage's result, as JSON.
    """
    if config.expert.condition != "text":
        return ""
    if wanted_by(config)["captions.encoder"] is None:
        tokens = config.captions.tokens
        longer = (num for words, num in partition["caption_words"] if 0 < tokens < words)
        return _told(sum(longer), tokens)
    texts = find_encoded(store, "captions", partition["digest"])
    return "" if texts is None else _told(texts["num_cut"], texts["tokens"])


def _told(num: int, tokens: int) -> str:
    room = f"captions.tokens = {tokens}" if tokens else "what the model takes"
    return f"{num:,} captions are longer than {room}: their ends are not heard" if num else ""
