"""Features of a pretrained image model, such as DINOv2, through transformers."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from atoll.errors import BadInput


class VisionFeatures:
    """One vector an image: the model's pooled output where it has one, else the mean of its tokens.

    DINOv2's pooled output is its normalised class token. Images go through the model's own
    preprocessing; grey ones are repeated to three channels.

    Args:
        model: hub id, or a folder with ``config.json``, ``preprocessor_config.json`` and
            ``model.safetensors``; timm's models, such as an Inception v3, have their preprocessing
            in ``config.json`` and need timm installed.

    Raises:
        BadInput: the model cannot be loaded; says why.

    Source: Oquab et al., DINOv2 (arXiv 2304.07193).
    """

    def __init__(self, model: str) -> None:
        self._name = model
        try:
            from transformers import AutoImageProcessor, AutoModel  # noqa: PLC0415 - optional

            self._processor = AutoImageProcessor.from_pretrained(model)
            # Weights in pickle form could run code, so they are never loaded.
            self._model = AutoModel.from_pretrained(model, use_safetensors=True)
        except ModuleNotFoundError as error:
            raise BadInput(
                "features of a transformers model need that library; "
                "run `pip install 'atoll[transformers]'`"
            ) from error
        except Exception as error:  # transformers has some of its own kind, too
            if any(words in str(error) for words in ("timm_wrapper", "timm library")):
                raise BadInput(
                    f"the image model {model!r} is one of timm's; run `pip install timm`, with the "
                    "torchvision that fits the torch installed here"
                ) from error
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise BadInput(
                f"the image model {model!r} cannot be loaded from a folder of that name, nor from "
                f"the hub ({reason}); give a folder with config.json, preprocessor_config.json and "
                "model.safetensors, or a hub id that this machine can reach"
            ) from error
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(self._device).eval()

    @functools.cached_property
    def digest(self) -> str:
        """sha256 (hex) of the model's weights."""
        weights = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            weights.update(name.encode())
            weights.update(tensor.cpu().flatten().view(torch.uint8).numpy().tobytes())
        return weights.hexdigest()

    def transform(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`partition.features.Features`."""
        colour = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
        inputs = self._processor(images=list(colour), return_tensors="pt").to(self._device)
        with torch.inference_mode():
            output = self._model(**inputs)
        pooled = output.get("pooler_output")
        if pooled is None:
            pooled = output.last_hidden_state.mean(1)
        vectors: NDArray[np.float32] = pooled.flatten(1).float().cpu().numpy()
        return vectors

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """See :class:`partition.features.Features`."""
        return {"transformers": np.array(self._name)}
