"""The recipe of an image, kept inside its PNG: the same recipe gives the same image."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from pydantic import TypeAdapter, ValidationError

from atoll.errors import BadInput, DataError

_KEY = "atoll"


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that an image follows from.

    Attributes:
        seed: of its noise and draws.
        condition: name of its class, or its prompt; "" without one.
        solver: how the flow was integrated.
        steps: of the solver.
        guidance: 1 is none.
        strategy: how experts were selected.
        gate: what told the clusters apart.
        checkpoints: digest of each job's checkpoint, by name of the job.
        ema_length: of the experts' averages; None for that of their training.
        size: of the image, WIDTHxHEIGHT in pixels; None for the main one of the run.
        without: experts that could not be had in some step, whose weight the others have shared:
            nothing draws the image again.
        reused: what a service has reused between steps, see :mod:`serving.engine.thrift`; "" for
            nothing. Only it draws the image again.
    """

    seed: int
    condition: str
    solver: str
    steps: int
    guidance: float
    strategy: str
    gate: str
    checkpoints: dict[str, str]
    ema_length: float | None = None
    size: str | None = None
    without: tuple[int, ...] = ()
    reused: str = ""

    @property
    def overrides(self) -> list[str]:
        """The settings of a run that draws the image again, as ``--set`` takes them."""
        keys = ("solver", "steps", "guidance", "strategy", "gate", "ema_length")
        told = {key: getattr(self, key) for key in keys}
        return [f"sampling.{key}={json.dumps(it)}" for key, it in told.items() if it is not None]

    @property
    def text(self) -> str:
        """As a PNG carries it, in JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    def missing(self, experts: Sequence[int]) -> Recipe:
        """The same, of an image for which experts could not be had in one more step."""
        if not experts:
            return self
        return replace(self, without=tuple(sorted({*self.without, *experts})))

    def refuse_others(self, checkpoints: Mapping[str, str]) -> None:
        """Refuse to draw another image than this.

        Args:
            checkpoints: digests by name of the job.

        Raises:
            BadInput: they would; names the jobs. Or experts were missing then, and are not now; or
                something was reused between steps.
        """
        if self.without:
            raise BadInput(
                f"the image was drawn while experts could not be had, {list(self.without)}, and "
                "nothing draws it again; leave out --like, and give its seed and settings"
            )
        if self.reused:
            raise BadInput(
                f"the image was drawn by a service that reuses {self.reused}, and `atoll sample` "
                "draws another one; leave out --like, and give its seed and settings"
            )
        jobs = sorted(self.checkpoints.keys() | checkpoints.keys())
        differ = [job for job in jobs if self.checkpoints.get(job) != checkpoints.get(job)]
        if differ:
            raise BadInput(
                "the image was drawn by other checkpoints than this run's newest: "
                f"{', '.join(differ)}; give the run that drew it (--set run.uri=URI); if it is "
                "this one, it was trained on since, and draws the image no more"
            )


def png_of(image: NDArray[np.uint8], recipe: Recipe | None = None) -> bytes:
    """A PNG of an image, (H, W, C) uint8 with one channel or three, with its recipe inside."""
    about = PngInfo()
    if recipe is not None:
        about.add_text(_KEY, recipe.text)
    pixels = image[:, :, 0] if image.shape[2] == 1 else image
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", pnginfo=about)
    return file.getvalue()


def save_png(path: Path, image: NDArray[np.uint8], recipe: Recipe | None = None) -> None:
    """Write an image, (H, W, C) uint8 with one channel or three, and its recipe into it.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    try:
        path.write_bytes(png_of(image, recipe))
    except OSError:
        path.unlink(missing_ok=True)
        raise


def read_recipe(path: Path) -> Recipe:
    """The recipe in a PNG.

    Raises:
        DataError: the file is no image, or has none, or one that cannot be read.
    """
    try:
        with Image.open(path) as image:
            text: Any = image.info.get(_KEY)
    except (OSError, UnidentifiedImageError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read as an image: {why}") from error
    if text is None:
        raise DataError(f"{path} carries no recipe; only images that Atoll drew do")
    try:
        return TypeAdapter(Recipe).validate_json(text, strict=True)
    except ValidationError as error:
        raise DataError(f"{path} carries a recipe that this version cannot read") from error


def drawn_before(wanted: Mapping[Path, Recipe]) -> NDArray[np.uint8] | None:
    """Images that are all there already, each with the recipe that is asked for.

    Args:
        wanted: recipes by the file that should hold the image.

    Returns:
        (N, H, W, C) uint8 in the order of the files; None if one is missing or differs.
    """
    images = []
    for path, recipe in wanted.items():
        try:
            if read_recipe(path) != recipe:
                return None
            with Image.open(path) as image:
                pixels = np.asarray(image)
        except (DataError, OSError):
            return None
        images.append(pixels if pixels.ndim == 3 else pixels[:, :, None])
    return np.stack(images)
