"""``atoll import`` and ``atoll export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from atoll.command import ConfigOption, SetOption, say
from atoll.config_file import run_config
from atoll.errors import BadInput

OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder to write, new or empty.")]


def import_(
    source: Annotated[
        Path, typer.Argument(help="A .pt file of DiT or SiT, or a folder of diffusers.")
    ],
    out: OutOption,
    objective: Annotated[
        Literal["ddpm", "sit", "flow"] | None,
        typer.Option(
            help="What it learned to tell: the noise on DDPM's schedule (DiT); the velocity from "
            "noise to data (SiT); that from data to noise (Atoll). Weights do not tell."
        ),
    ] = None,
    heads: Annotated[
        int | None,
        typer.Option(min=1, help="Of attention, of a .pt file.", show_default="the paper's"),
    ] = None,
    made_by: Annotated[
        Literal["facebook", "diffusers"] | None,
        typer.Option(
            help="Whose way to embed times the weights in a folder were trained with.",
            show_default="diffusers",
        ),
    ] = None,
) -> None:
    """Make an expert of a checkpoint that DiT, SiT or diffusers wrote.

    Nothing in a .pt file is run: it is read as tensors, plain containers and flags alone.
    """
    from experts.exchange.exporting import write_ours
    from experts.exchange.importing import imported

    if not source.exists():
        raise BadInput(f"{source} is not there; give a .pt file, or a folder of diffusers")
    write_ours(out, imported(source, objective, heads, made_by))
    say(f'wrote {out}; draw from it by atoll sample --expert {out}, or set expert.init = "{out}"')


def export(
    job: Annotated[str, typer.Argument(help="expert-K, or monolith.")],
    out: OutOption,
    config: ConfigOption = None,
    set_: SetOption = None,
    for_: Annotated[
        Literal["atoll", "diffusers"], typer.Option("--for", help="Who shall read it.")
    ] = "atoll",
) -> None:
    """Write a trained expert as one safetensors file with a card, or as diffusers has it."""
    from atoll import layout, stages
    from atoll.averaged import as_sampled
    from atoll.blobs import open_store
    from atoll.types import CheckpointRef
    from experts.exchange.exporting import expert_model, text_model, write_diffusers, write_ours

    settings = run_config(config, set_ or ())
    store = open_store(settings.run.uri)
    trained = stages.require(store, "train", "export")
    if job not in trained:
        raise BadInput(f"{job} is no trained expert; there are {', '.join(sorted(trained))}")
    cache = layout.state_folder(settings.run.uri) / "cache"
    refs = as_sampled(store, settings, {job: CheckpointRef(**trained[job])}, "export")
    model = expert_model(store, settings, job, refs[job], cache)
    if for_ == "diffusers":
        write_diffusers(out, model)
    else:
        write_ours(out, model, text_model(store, model, cache))
    say(f"wrote {job} to {out}, with a card that says how to use it")
