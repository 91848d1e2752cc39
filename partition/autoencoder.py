"""A pretrained autoencoder between images and latents, through diffusers.

Source: Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models (arXiv
2112.10752), section 3.1.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atoll.errors import BadInput
from atoll.image_size import name_of
from partition.model_files import config_in
from partition.pixels import to_uint8

KEY = "latents.vae"
# Those whose way of answering is known here. The others differ in it, or are for videos.
_CLASSES = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderDC")
_AT_ONCE_PIXELS = 1 << 20  # decoded together: sixteen images of 256 x 256
_PROBE = 512  # pixels: more than any factor


@dataclass(frozen=True, slots=True)
class Fit:
    """How an autoencoder fits images.

    Attributes:
        shape: channels, height and width of a latent of an image of the first size.
        factor: pixels along the side of one of its places.
        has_moments: whether a latent is drawn from a distribution.
        scale: the model's own; None without one.
        shift: likewise; 0 without one.
    """

    shape: tuple[int, int, int]
    factor: int
    has_moments: bool
    scale: float | None
    shift: float


def fit_of(
    told: Any,
    name: str,
    channels: int,
    sizes: Sequence[tuple[int, int]],
    size_key: str,
) -> Fit:
    """How an autoencoder fits images, known without its weights.

    Args:
        told: what its ``config.json`` says.
        name: of it in the configuration, for errors.
        channels: of the images.
        sizes: their heights and widths.
        size_key: what says so in the configuration, for errors.

    Raises:
        BadInput: it is no autoencoder that is known here, or images of that kind do not fit it.
    """
    cls = _class_of(told, name)
    with _sense_made_of(name), torch.device("meta"):
        model = cls.from_config(told).eval()
    takes = model.config.get("in_channels", 3)
    if takes != channels:
        few = ": image files, say, become three" if channels == 1 else ""
        raise BadInput(
            f"{KEY} = {name!r} takes images of {takes} channels, and those of the data have "
            f"{channels}; choose another autoencoder, or other images{few}"
        )
    gives = model.config.get("out_channels", takes)
    if gives != channels:
        raise BadInput(
            f"{KEY} = {name!r} gives images of {gives} channels, and takes those of {takes}; "
            "choose another autoencoder"
        )
    with _sense_made_of(name):
        factor = _PROBE // _answer(model, channels, _PROBE, _PROBE)[0].shape[2]
    for rows, columns in sizes:
        if rows % factor or columns % factor:
            raise BadInput(
                f"{KEY} = {name!r} makes one place of {factor} x {factor} pixels, which does not "
                f"divide images of {name_of(rows, columns)}; set {size_key} to a multiple of "
                f"{factor}"
            )
    latent, has_moments = _answer(model, channels, *sizes[0])
    num, rows, columns = latent.shape[1:]
    return Fit(
        shape=(num // 2 if has_moments else num, rows, columns),
        factor=factor,
        has_moments=has_moments,
        scale=told.get("scaling_factor"),
        shift=told.get("shift_factor") or 0.0,
    )


class Autoencoder:
    """Images to latents and back.

    Args:
        folder: its files.
        device: where it computes.
        precision: what in.

    Raises:
        BadInput: it cannot be loaded; says why.
    """

    def __init__(
        self, folder: Path, device: torch.device, precision: Literal["fp32", "bf16"] = "fp32"
    ) -> None:
        self._device = device
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        try:
            model = _loaded(folder, self._dtype)
        except (OSError, ValueError, RuntimeError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise BadInput(
                f"the autoencoder in {folder} cannot be loaded ({reason}); give {KEY} one that "
                "save_pretrained has written"
            ) from error
        # Channels last: convolutions take less time for it, see benchmarks/encoding.py.
        self._model = model.to(device, memory_format=torch.channels_last).eval()
        self._model.requires_grad_(False)

    @torch.inference_mode()
    def encode(self, images: NDArray[np.uint8]) -> Tensor:
        """What the encoder answers.

        Args:
            images: (B, H, W, C), uint8.

        Returns:
            (B, 2 C, h, w) float32 on the CPU: mean and logarithm of the variance; or the latents
            themselves, (B, C, h, w), of an autoencoder that draws nothing.
        """
        x = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2) / 127.5 - 1
        return _latent_of(self._model.encode(x.to(self._dtype)))[0].float().cpu()

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> NDArray[np.uint8]:
        """Images of latents.

        Args:
            latents: (B, C, h, w), as the encoder gives them.

        Returns:
            (B, H, W, C), uint8.
        """
        return np.concatenate(list(self._decoded(latents)))

    def _decoded(self, latents: Tensor) -> Iterator[NDArray[np.uint8]]:
        at_once = 1
        while len(latents):
            x = self._model.decode(latents[:at_once].to(self._device, self._dtype)).sample
            yield to_uint8(x.float().cpu().numpy())
            # One tells how large they are.
            latents, at_once = latents[at_once:], max(1, _AT_ONCE_PIXELS // x[0, 0].numel())


def _loaded(folder: Path, dtype: torch.dtype) -> Any:
    cls = _class_of(config_in(folder, f"the autoencoder in {folder}"), str(folder))
    model, told = cls.from_pretrained(
        folder,
        torch_dtype=dtype,
        use_safetensors=True,
        low_cpu_mem_usage=False,
        output_loading_info=True,
    )
    if lacking := sorted(told["missing_keys"]):  # they would be drawn at random
        raise ValueError(f"its weights lack {lacking[0]}")
    return model


def _class_of(told: Any, name: str) -> Any:
    kind = told.get("_class_name") if isinstance(told, dict) else None
    if kind not in _CLASSES:
        raise BadInput(
            f"{KEY} = {name!r} is {'no model of diffusers' if kind is None else f'a {kind}'}; give "
            f"one of {', '.join(_CLASSES)}"
        )
    try:
        import diffusers  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise BadInput(
            f"{KEY} needs a library that is not installed; run `pip install 'atoll[latents]'`"
        ) from error
    return getattr(diffusers, kind)


@contextlib.contextmanager
def _sense_made_of(name: str) -> Iterator[None]:
    """Errors inside are of a ``config.json`` that describes no model."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError, LookupError, ArithmeticError, AttributeError) as e:
        reason = (str(e).strip() or type(e).__name__).splitlines()[0].rstrip(".")
        raise BadInput(
            f"{KEY} = {name!r} has a config.json that describes no model ({reason}); give one that "
            "save_pretrained has written"
        ) from e


def _answer(model: Any, channels: int, height: int, width: int) -> tuple[Tensor, bool]:
    with torch.inference_mode():
        return _latent_of(model.encode(torch.zeros(1, channels, height, width, device="meta")))


def _latent_of(answer: Any) -> tuple[Tensor, bool]:
    """What the encoder has answered, and whether that is a distribution's moments."""
    if "latent_dist" in answer:
        found = answer.latent_dist
        return torch.cat([found.mean, found.logvar], dim=1), True
    return (answer.latent if "latent" in answer else answer.latents), False
