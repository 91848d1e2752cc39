"""Vectors of the captions, see :class:`partition.encoding.series.Series`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atoll.blobs import BlobStore
from atoll.captions_section import TransformersCaptions
from atoll.config import Config
from atoll.digests import digest_of
from atoll.errors import BadInput
from partition.encoding.series import Encoded, Stored
from partition.form import write_array
from partition.manifest import Shard, Texts
from partition.model_files import fetch_model, kept_model, model_config
from partition.text_model import KEY, TextKind, TextModel, encoder_name, kind_of


@dataclass(frozen=True, slots=True)
class CaptionSeries:
    """What ``[captions]`` asks for.

    Attributes:
        model: digest of the text model.
        kind: what is known of it.
        tokens: of a caption, at most; 0 for one vector of the whole.
        batch_size: captions encoded together.
        workers: processes.
    """

    model: str
    kind: TextKind
    tokens: int
    batch_size: int
    workers: int
    name: str = "captions"

    @classmethod
    def planned(cls, config: Config, store: BlobStore) -> CaptionSeries:
        """The series of a run, whose store keeps the text model from now on.

        Args:
            config: of the run; ``captions.encoder`` is a model.
            store: of the run.

        Raises:
            BadInput: the model cannot be used; names the key.
        """
        section = config.captions
        assert isinstance(section.encoder, TransformersCaptions)
        name = section.encoder.transformers
        model = kept_model(store, name, KEY, "transformers")
        kind = kind_of(model_config(store, model), name)
        if kind.most_tokens is not None and section.tokens > kind.most_tokens:
            raise BadInput(
                f"captions.tokens = {section.tokens} is more than {KEY} = {name!r} takes, "
                f"{kind.most_tokens}; lower it"
            )
        return cls(model, kind, section.tokens, section.batch_size, section.workers)

    @property
    def inputs(self) -> dict[str, Any]:
        """See :class:`partition.encoding.series.Series`."""
        return {"encoder": self.model, "tokens": self.tokens}

    @property
    def digest(self) -> str:
        """See :class:`partition.encoding.series.Series`."""
        return digest_of([self.name, self.inputs])

    def open(self, store: BlobStore, cache: Path, device: torch.device) -> CaptionEncoder:
        """See :class:`partition.encoding.series.Series`."""
        folder = fetch_model(store, self.model, cache)
        return CaptionEncoder(TextModel(folder, self.model, self.tokens, device))

    def result(self, shards: tuple[tuple[Shard, ...], ...], sums: Mapping[str, float]) -> Texts:
        """See :class:`partition.encoding.series.Series`."""
        return Texts(
            encoder=encoder_name(self.kind, self.model),
            model=self.model,
            tokens=self.tokens,
            dims=self.kind.dims,
            num_cut=int(sums["cut"]),
            shards=shards,
        )


@dataclass(frozen=True, slots=True)
class CaptionEncoder:
    """See :class:`partition.encoding.series.Encoder`.

    Attributes:
        model: that encodes.
    """

    model: TextModel

    def prepare(self, sample: Stored) -> tuple[str, str, bool]:
        """See :class:`partition.encoding.series.Encoder`."""
        told = sample.told
        caption = told["caption"] or ""
        return told["key"], caption, self.model.is_cut(caption)

    def encode(self, prepared: Sequence[tuple[str, str, bool]]) -> Encoded:
        """See :class:`partition.encoding.series.Encoder`."""
        keys, captions, cut = zip(*prepared, strict=True)
        made = self.model.encoded(captions)
        for key, vectors in zip(keys, made, strict=True):
            if not np.isfinite(vectors).all():
                raise BadInput(
                    f"{KEY} gives numbers that 16 bits cannot hold, or none, for the caption of "
                    f"{key}; choose another model"
                )
        return Encoded(
            files=[{"npy": write_array(vectors)} for vectors in made],
            sums={"cut": float(sum(cut))},
        )
