"""Captions as vectors by a pretrained text model, through transformers.

Source: Radford et al., CLIP (arXiv 2103.00020), section 2.4; Raffel et al., T5 (arXiv 1910.10683),
whose encoder alone is used; Reimers & Gurevych, Sentence-BERT (arXiv 1908.10084), section 3, for
the mean of tokens as the vector of a sentence.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor

from atoll.errors import BadInput
from partition.model_files import config_in

KEY = "captions.encoder"
_CLIP = ("clip", "clip_text_model")
_T5 = ("t5", "mt5", "umt5")  # of which the encoder alone is needed
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
# What a sentence-embedding model may consist of, and what it must not do.
_MODULES = ("Transformer", "Pooling", "Normalize")
_OTHER_POOLING = {
    *("max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"),
    *("max", "mean_sqrt_len", "weightedmean"),
}
_MOST_TOKENS = 512  # of a caption that becomes one vector, where a model has no limit of its own


@dataclass(frozen=True, slots=True)
class TextKind:
    """What is known of a text model without its weights.

    Attributes:
        family: of transformers, such as ``clip`` or ``t5``.
        dims: length of a vector.
        most_tokens: that it takes; None without a limit.
    """

    family: str
    dims: int
    most_tokens: int | None


def kind_of(told: Any, name: str) -> TextKind:
    """What a model's ``config.json`` says.

    Args:
        told: that.
        name: of the model in the configuration, for errors.

    Raises:
        BadInput: it is no model of text, or transformers does not know or is not there.
    """
    family = told.get("model_type") if isinstance(told, dict) else None
    try:
        from transformers import AutoConfig  # noqa: PLC0415 - optional

        given = {key: value for key, value in told.items() if key != "model_type"}
        config = AutoConfig.for_model(family, **given)
    except ModuleNotFoundError as error:
        raise BadInput(
            f"{KEY} needs a library that is not installed; run `pip install 'atoll[transformers]'`"
        ) from error
    except (AttributeError, ValueError, TypeError) as error:
        raise BadInput(
            f"{KEY} = {name!r} is {_called(family)}, which transformers does not know; give the "
            "folder of a CLIP, a T5, or a sentence-embedding model"
        ) from error
    except Exception as error:  # its own kind, which it brings with it
        raise BadInput(
            f"{KEY} = {name!r} has a config.json that describes no model ({_reason(error)}); give "
            "one that save_pretrained has written"
        ) from error
    config = config.text_config if family == "clip" else config
    if "vocab_size" not in config or (config.is_encoder_decoder and family not in _T5):
        raise BadInput(
            f"{KEY} = {name!r} is {_called(family)}, which encodes no text by itself; give the "
            "folder of a CLIP, a T5, or a sentence-embedding model"
        )
    most = None if family in _T5 else getattr(config, "max_position_embeddings", None)
    return TextKind(str(family), config.hidden_size, most)


class TextModel:
    """A text model and its tokenizer; see :class:`partition.text.TextEncoder`.

    A caption's tokens are the model's last hidden states, those of its begin and end with them.
    One vector of the whole is what CLIP makes of the end; of other models the mean of these tokens,
    or the first of them where a sentence-embedding model says so.

    Args:
        folder: its files.
        digest: sha256 (hex) of them.
        tokens: of a caption, at most; longer ones are cut. 0 for one vector of the whole.
        device: where it computes; of a model on ``meta``, which cannot, no weights are read.

    Attributes:
        name: of the family and the files.
        dims: length of a vector.
        tokens: as given.
        room: most tokens that are heard.

    Raises:
        BadInput: it cannot be loaded, or does not take so many tokens; says why.
    """

    def __init__(self, folder: Path, digest: str, tokens: int, device: torch.device) -> None:
        kind = kind_of(config_in(folder, f"the text model in {folder}"), str(folder))
        self.name, self.dims, self.tokens = encoder_name(kind, digest), kind.dims, tokens
        self._device, self._clip = device, kind.family in _CLIP
        self._pools_first = not tokens and _pools_first(folder)
        if not any(any(folder.glob(name)) for name in _TOKENIZERS):  # transformers makes one up
            raise BadInput(
                f"{KEY} names a model in {folder} without its tokenizer; give a folder with "
                "tokenizer.json in it, as the tokenizer's save_pretrained writes it"
            )
        # A tokenizer keeps how it shall cut and pad, so that no two callers may use it at once.
        self._guard = threading.Lock()
        try:
            self._tokenizer, model = _loaded(folder, kind.family, device)
        except ImportError as error:
            raise BadInput(
                f"the text model in {folder} needs a library that is not installed "
                f"({_reason(error)}); run `pip install 'atoll[transformers]'`, and install what it "
                "names if that is not enough"
            ) from error
        except Exception as error:  # tokenizers raises bare ones
            raise BadInput(
                f"the text model in {folder} cannot be loaded ({_reason(error)}); give {KEY} a "
                "model and its tokenizer as save_pretrained has written them"
            ) from error
        self._model = model.eval().requires_grad_(False)
        limits = (kind.most_tokens, self._tokenizer.model_max_length)
        self.room = tokens or min(_MOST_TOKENS, *(each for each in limits if each is not None))

    def encode(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """See :class:`partition.text.TextEncoder`."""
        rows = np.zeros((len(captions), *((self.tokens,) if self.tokens else ()), self.dims))
        for row, vectors in zip(rows, self.encoded(captions), strict=True):
            if self.tokens:
                row[: len(vectors)] = vectors
            else:
                row[:] = vectors
        return rows.astype(np.float32)

    def encoded(self, captions: Sequence[str]) -> list[NDArray[np.float16]]:
        """Of each caption its own tokens, (T, dims), or one vector, (dims,).

        They are in 16 bits, as they are stored, so that prompts are told as captions are. An empty
        caption has no tokens, or is zeros.
        """
        none = np.zeros((0, self.dims) if self.tokens else self.dims, np.float16)
        found = [none] * len(captions)
        told = [row for row, caption in enumerate(captions) if caption.strip()]
        if told:
            made = self._vectors([captions[row] for row in told])
            for row, vectors in zip(told, made, strict=True):
                found[row] = vectors
        return found

    def is_cut(self, caption: str) -> bool:
        """See :class:`partition.text.TextEncoder`."""
        return self.length(caption) > self.room

    def length(self, caption: str) -> int:
        """Tokens of a whole caption."""
        with self._guard:
            return len(self._tokenizer(caption, verbose=False)["input_ids"])

    @torch.inference_mode()
    def _vectors(self, captions: list[str]) -> list[NDArray[np.float16]]:
        with self._guard:
            given = self._tokenizer(
                captions,
                padding=True,
                truncation=True,
                max_length=self.room,
                return_tensors="pt",
            ).to(self._device)
        answer = self._model(input_ids=given["input_ids"], attention_mask=given["attention_mask"])
        states, own = answer.last_hidden_state, given["attention_mask"].bool()
        if self.tokens:
            return [_halved(each[mask]) for each, mask in zip(states, own, strict=True)]
        if self._clip:
            return list(map(_halved, answer.pooler_output))
        if self._pools_first:
            return [_halved(each[mask][0]) for each, mask in zip(states, own, strict=True)]
        return [_halved(each[mask].mean(0)) for each, mask in zip(states, own, strict=True)]


def encoder_name(kind: TextKind, digest: str) -> str:
    """How a model stands in a checkpoint's compat."""
    return f"{kind.family}-{digest[:16]}"


@functools.lru_cache(maxsize=1)
def open_text_model(folder: Path, digest: str, tokens: int, device: torch.device) -> TextModel:
    """One of :class:`TextModel`, of which the last is kept: checkpoints change, encoders do not."""
    return TextModel(folder, digest, tokens, device)


def _loaded(folder: Path, family: str, device: torch.device) -> tuple[Any, Any]:
    from transformers import (  # noqa: PLC0415 - optional
        AutoModel,
        AutoModelForTextEncoding,
        AutoTokenizer,
        CLIPTextModel,
    )
    from transformers.utils import logging  # noqa: PLC0415 - optional

    logging.disable_progress_bar()  # of every process that encodes, on one terminal
    logging.set_verbosity_error()  # weights that are not needed are no news; lacking ones are below
    kinds = {**dict.fromkeys(_CLIP, CLIPTextModel), **dict.fromkeys(_T5, AutoModelForTextEncoding)}
    # Whatever precision the file has: the same vectors wherever it came from.
    given = {"dtype": torch.float32, "output_loading_info": True}
    if device.type == "meta":
        cls, config = _described(folder, kinds.get(family, AutoModel))
        model, told = cls.from_pretrained(None, config=config, state_dict=_outline(folder), **given)
    else:
        # Weights in pickle form could run code, so they are never loaded.
        safe = {"use_safetensors": True, "trust_remote_code": False}
        model, told = kinds.get(family, AutoModel).from_pretrained(folder, **safe, **given)
    # What a file lacks is drawn at random; the one layer that nobody asks may be so.
    if lacking := sorted(key for key in told["missing_keys"] if not key.startswith("pooler.")):
        raise ValueError(f"its weights lack {lacking[0]}")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.pad_token is None:
        raise ValueError("its tokenizer has no token to pad with")
    return tokenizer, model.to(device)


def _described(folder: Path, kind: Any) -> tuple[Any, Any]:
    """The class and the configuration of the model that a folder's ``config.json`` describes."""
    from transformers import AutoConfig, PreTrainedModel  # noqa: PLC0415 - optional

    if issubclass(kind, PreTrainedModel):
        return kind, kind.config_class.from_pretrained(folder)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with torch.device("meta"):
        return type(kind.from_config(config, trust_remote_code=False)), config


def _outline(folder: Path) -> dict[str, Tensor]:
    """A folder's weights by their names and shapes alone: of one number each, repeated."""
    names = {"model.safetensors"}
    if not (folder / "model.safetensors").exists():
        index = json.loads((folder / "model.safetensors.index.json").read_bytes())
        names = set(index["weight_map"].values())
    shapes: dict[str, list[int]] = {}
    for name in names:
        with safe_open(folder / name, "pt") as file:
            shapes |= {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    return {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}


def _pools_first(folder: Path) -> bool:
    """Whether a sentence-embedding model takes the first token's vector for the sentence's.

    Raises:
        BadInput: it makes the vector in another way than from the first token, or the mean of all.
    """
    modules, pooling = folder / "modules.json", folder / "1_Pooling" / "config.json"
    try:
        parts = json.loads(modules.read_bytes()) if modules.exists() else []
        kinds = [each["type"].rpartition(".")[2] for each in parts]
        told = json.loads(pooling.read_bytes()) if pooling.exists() else {}
        modes = {key.removeprefix("pooling_mode_") for key, value in told.items() if value is True}
        modes |= {told["pooling_mode"]} if "pooling_mode" in told else set()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"{KEY} names a sentence-embedding model whose modules.json or 1_Pooling/config.json "
            f"cannot be read ({_reason(error)}); fetch or write it again"
        ) from error
    other = [*sorted(modes & _OTHER_POOLING), *(kind for kind in kinds if kind not in _MODULES)]
    if other:
        raise BadInput(
            f"{KEY} names a sentence-embedding model with {other[0]}, which is not known here; "
            "give one whose vector is the mean of its tokens or the first of them, or set "
            "captions.tokens above 0"
        )
    return bool(modes & {"cls_token", "cls"})


def _halved(vectors: Tensor) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):  # whoever encodes looks whether they are finite
        kept: NDArray[np.float16] = vectors.float().cpu().numpy().astype(np.float16)
    return kept


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _called(family: object) -> str:
    return "no model of transformers" if family is None else f"a {family}"
