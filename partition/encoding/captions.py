"""Vectors of the captions, see :class:`partition.encoding.series.Series`."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from atoll.blobs import BlobStore
from atoll.captions_section import TransformersCaptions
from atoll.config import Config
from atoll.digests import digest_of
from atoll.encoded import refuse_other_files
from atoll.errors import BadInput
from partition.encoding.series import Encoded, Stored
from partition.form import write_array
from partition.manifest import Shard, Texts
from partition.model_files import fetch_model, kept_model, model_config
from partition.text_model import KEY, TextKind, TextModel, encoder_name, kind_of

_GROUP = 8  # batches of captions that are sorted by their length together


class Caption(NamedTuple):
    """A caption to be encoded.

    Attributes:
        key: of its sample.
        text: what it says.
        length: its tokens.
    """

    key: str
    text: str
    length: int


@dataclass(frozen=True, slots=True)
class CaptionSeries:
    """What ``[captions]`` asks for.

    Attributes:
        model: digest of the text model.
        kind: what is known of it.
        tokens: of a caption, at most; 0 for one vector of the whole.
        batch_size: captions that are sorted by their length together.
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
        refuse = functools.partial(refuse_other_files, store, config, "captions")
        model = kept_model(store, name, KEY, "transformers", refuse)
        kind = kind_of(model_config(store, model), name)
        if kind.most_tokens is not None and section.tokens > kind.most_tokens:
            raise BadInput(
                f"captions.tokens = {section.tokens} is more than {KEY} = {name!r} takes, "
                f"{kind.most_tokens}; lower it"
            )
        return cls(model, kind, section.tokens, _GROUP * section.batch_size, section.workers)

    @property
    def digest(self) -> str:
        """See :class:`partition.encoding.series.Series`."""
        return digest_of([self.name, {"encoder": self.model, "tokens": self.tokens}])

    def open(self, store: BlobStore, cache: Path, device: torch.device) -> CaptionEncoder:
        """See :class:`partition.encoding.series.Series`."""
        folder = fetch_model(store, self.model, cache)
        model = TextModel(folder, self.model, self.tokens, device)
        return CaptionEncoder(model, at_once=self.batch_size // _GROUP)

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
        at_once: captions that it encodes together, of about one length, so that little is padding.
    """

    model: TextModel
    at_once: int

    def prepare(self, sample: Stored) -> Caption:
        """See :class:`partition.encoding.series.Encoder`."""
        told = sample.told
        text = told["caption"] or ""
        return Caption(told["key"], text, self.model.length(text))

    def encode(self, prepared: Sequence[Caption]) -> Encoded:
        """See :class:`partition.encoding.series.Encoder`."""
        order = sorted(range(len(prepared)), key=lambda row: prepared[row].length)
        files: list[dict[str, bytes]] = [{} for _ in prepared]
        for start in range(0, len(order), self.at_once):
            rows = order[start : start + self.at_once]
            made = self.model.encoded([prepared[row].text for row in rows])
            for row, vectors in zip(rows, made, strict=True):
                if not np.isfinite(vectors).all():
                    raise BadInput(
                        f"{KEY} gives numbers that 16 bits cannot hold, or none, for the caption "
                        f"of {prepared[row].key}; choose another model"
                    )
                files[row] = {"npy": write_array(vectors)}
        cut = sum(each.length > self.model.room for each in prepared)
        return Encoded(files=files, sums={"cut": float(cut)})
