"""From checkpoints of other programs to an expert."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from atoll.errors import BadInput
from atoll.expert_file import told_in
from experts.dialect import OURS, SIT, Dialect
from experts.exchange import diffusers, facebook
from experts.exchange.model import Model, refuse_other_weights

Objective = Literal["ddpm", "sit", "flow"]
Program = Literal["facebook", "diffusers"]


def imported(
    source: Path, objective: Objective | None, heads: int | None, made_by: Program | None
) -> Model:
    """An expert out of a ``.pt`` file of DiT or SiT, or out of a folder of diffusers.

    Args:
        source: the file or folder.
        objective: what the network learned to tell: ``ddpm``, the noise on DDPM's schedule;
            ``sit``, the velocity from noise to data; ``flow``, that from data to noise, as Atoll's.
            Weights do not tell, so it may be None only for what Atoll wrote itself.
        heads: of attention, for a ``.pt`` file of a body that the paper does not name.
        made_by: whose way to embed times the weights of a diffusers folder were trained with; None
            for that of diffusers.

    Raises:
        BadInput: it cannot be read safely, or is of another network; or a flag is missing.
    """
    try:
        return _model_in(source, objective, heads, made_by)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise BadInput(
            f"{source} cannot be understood as a DiT ({error}); give DiT's or SiT's .pt file, or a "
            "folder of diffusers"
        ) from error


def _model_in(
    source: Path, objective: Objective | None, heads: int | None, made_by: Program | None
) -> Model:
    if source.is_dir():
        if heads is not None:
            raise BadInput(f"{source} tells how many heads it has; leave out --heads")
        return _of_folder(source, objective, made_by)
    if made_by == "diffusers":
        raise BadInput(f"{source} is no folder of diffusers; leave out --made-by")
    weights = facebook.read_pickle(source)
    about = facebook.describe(weights, heads, str(source))
    return _understood(about, weights, _required(objective, source), OURS, source)


def _of_folder(source: Path, objective: Objective | None, made_by: Program | None) -> Model:
    config, theirs = diffusers.read_folder(source)
    weights = diffusers.ours_from(config, theirs)
    about = told_in(diffusers.network_folder(source) / diffusers.FILE)
    if about is not None:  # Atoll wrote it
        model = Model(about, weights)
        refuse_other_weights(model, source)
        return model
    about = facebook.describe(weights, config["num_attention_heads"], str(source))
    if about["shape"][1] != config["sample_size"]:
        raise BadInput(
            f"{source} says patch_size = {config['patch_size']}, and its weights are for patches"
            f" of {about['sizes']['patch']}"
        )
    dialect = OURS if made_by == "facebook" else diffusers.dialect_of(config)
    return _understood(about, weights, _required(objective, source), dialect, source)


def _required(objective: Objective | None, source: Path) -> Objective:
    if objective is None:
        raise BadInput(
            f"the weights in {source} do not tell what they were trained for; give --objective: "
            "ddpm (as DiT), sit, or flow (as Atoll)"
        )
    return objective


def _understood(
    about: dict[str, Any],
    weights: dict[str, Tensor],
    objective: Objective,
    dialect: Dialect,
    source: Path,
) -> Model:
    channels, patch = about["shape"][0], about["sizes"]["patch"]
    weights = facebook.without_sigma(weights, channels, patch)
    if objective == "sit":
        weights = facebook.reversed_in_time(weights)
        dialect = replace(dialect, scale=SIT.scale, offset=SIT.offset)
    classes = range(about["conditioning"]["size"])
    model = Model(
        about={
            **about,
            "dialect": dialect.told,
            "objective": "epsilon" if objective == "ddpm" else "velocity",
            "class_names": [str(number) for number in classes],
            "made": {"imported from": source.name, "as": objective},
        },
        weights=weights,
    )
    refuse_other_weights(model, source)
    return model
