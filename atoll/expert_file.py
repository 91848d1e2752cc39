"""The file of an expert outside of any run, as far as it can be read without torch.

It is of safetensors: the length of a header in eight bytes, the header in JSON, then the tensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from atoll.errors import BadInput, ConfigError
from atoll.expert_about import KINDS, About
from atoll.sizes import NetworkSizes, in_words, sizes_from

WEIGHTS = "model.safetensors"
KEY = "atoll"  # of the metadata that tell what network the weights are of
_MOST_BYTES = 100_000_000  # of a header, as safetensors itself has it


def weights_file(path: Path) -> Path:
    """The file of an expert, which may be given as its folder.

    Raises:
        BadInput: it is not there.
    """
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise BadInput(
            f"{file} is not there; name the folder or file of an expert that `atoll export` or "
            "`atoll import` wrote, which takes in those of other programs"
        )
    return file


def read_about(path: Path) -> dict[str, Any]:
    """What an expert's file tells of it, or that in an expert's folder; no weights are read.

    Raises:
        BadInput: there is no such file, or it is no expert's.
    """
    about = told_in(weights_file(path))
    if about is None:
        raise BadInput(f"{path} does not tell what network it holds; `atoll import` finds that out")
    return about


def told_in(file: Path) -> dict[str, Any] | None:
    """What the metadata of a safetensors file tell; None if another program wrote it.

    Raises:
        BadInput: the file is none, or tells of no network that could be built.
    """
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length)) if length <= _MOST_BYTES else None
        metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
        if not isinstance(metadata, dict):
            raise BadInput(f"{file} is no file of safetensors; name the one of an expert")
        about = json.loads(metadata[KEY]) if KEY in metadata else None
    except (OSError, ValueError, TypeError) as error:
        raise unreadable(file, error) from error
    if not isinstance(about, dict):
        return None
    try:
        About.model_validate_json(json.dumps(about), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in KINDS)
        words = first["msg"].removeprefix("Value error, ")
        raise BadInput(
            f"{file} does not tell what network it holds ({where}: {words}); export or import it "
            "again"
        ) from error
    return about


def unreadable(file: Path, error: Exception) -> BadInput:
    """What to say of a file that is no safetensors, or not all of it."""
    return BadInput(
        f"{file} cannot be read as safetensors: {error}; copy it again, or write it anew by "
        "`atoll export` or `atoll import`"
    )


def refuse_other_network(
    init: str, sizes: NetworkSizes, channels: int, objectives: Iterable[str], schedule: str
) -> dict[str, Any]:
    """Refuse a value of ``expert.init`` from which a run's experts cannot begin.

    Args:
        init: the value.
        sizes: of the experts.
        channels: of their images.
        objectives: what they learn to tell.
        schedule: of the noise, for epsilon and v.

    Returns:
        What the file tells of its network.

    Raises:
        BadInput: there is no expert.
        ConfigError: it is of another network, or learned to tell something else, or on another
            schedule of noise; says what.
    """
    about = read_about(Path(init))
    others, painted = sizes_from(about["sizes"]), about["shape"][0]
    if others != sizes:
        raise ConfigError(
            f"expert.init = {init!r} is a {in_words(others)}, and [expert] asks for a "
            f"{in_words(sizes)}; give its preset or its sizes"
        )
    if painted != channels:
        raise ConfigError(
            f"expert.init = {init!r} paints {painted} channels, and the data have {channels}; "
            "begin from another, or leave the key out"
        )
    told = about["objective"]
    if other := next((each for each in objectives if each != told), None):
        raise ConfigError(
            f'expert.init = {init!r} learned to tell "{told}", and training.objective, which '
            f'the monolith has in any case, or objectives, asks for "{other}"; set that to '
            f'"{told}", or begin from another'
        )
    learned = about.get("noise_schedule", "linear")
    if told != "velocity" and learned != schedule:
        raise ConfigError(
            f'expert.init = {init!r} learned on the "{learned}" schedule of noise, and '
            f'training.noise_schedule = "{schedule}"; set that to "{learned}", or begin from '
            "another"
        )
    return about
