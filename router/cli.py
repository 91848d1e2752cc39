"""``atoll sample``."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from atoll.command import (
    ConfigOption,
    JsonOption,
    SetOption,
    print_json,
    progress_bars,
    say,
)
from atoll.config_file import read_config, run_config
from atoll.digests import digest_of
from atoll.errors import BadInput
from atoll.image_size import size_in, size_name
from atoll.sections import SamplingSection

_SHOWN_SIDE = 96  # pixels of an image on the sheet, at least

AskedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        "--prompt",
        help="A class by name or number; where captions were learnt from, a prompt. Repeatable: "
        "images take them in turn.",
        show_default="every class in turn, or no prompt",
    ),
]
NumOption = Annotated[
    int | None, typer.Option("--num", "-n", min=1, help="How many images.", show_default="16")
]
SeedOption = Annotated[
    int | None,
    typer.Option(min=0, help="Of the first image; the next is one more.", show_default="0"),
]
LikeOption = Annotated[
    Path | None,
    typer.Option(
        help="A PNG to draw again, alone, by the recipe inside it, whatever the settings say of "
        "sampling: the same image, but for rounding where it was drawn together with others.",
    ),
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="WIDTHxHEIGHT",
        help="Of the images in pixels, of those of data.buckets.",
        show_default="the first",
    ),
]
ExpertOption = Annotated[
    Path | None,
    typer.Option(help="Folder of an exported or imported expert, to draw from it alone."),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder for the images.", show_default="below the run"),
]


def sample(  # noqa: PLR0917 - each is an option of the command
    config: ConfigOption = None,
    set_: SetOption = None,
    num: NumOption = None,
    asked: AskedOption = None,
    seed: SeedOption = None,
    size: SizeOption = None,
    like: LikeOption = None,
    expert: ExpertOption = None,
    out: OutOption = None,
    json_: JsonOption = False,
) -> None:
    """Draw images from the ensemble: a grid, and a PNG of each with its recipe inside.

    With --expert, one expert paints them, and no run is needed.
    """
    from partition.sheet import enlarged, labelled, tiled
    from router.asking import asked_for
    from router.recipe import Recipe, drawn_before, read_recipe, save_png
    from router.sampling import Wanted

    if like is not None and (num, asked, seed, size) != (None, None, None, None):
        raise BadInput(
            "--like draws one image again; leave out --class, --prompt, --seed, --size and --num"
        )
    again = None if like is None else read_recipe(like)
    if again is not None:
        num, seed, asked = 1, again.seed, [again.condition] if again.condition else None
        size = again.size
    num, seed = num or 16, seed or 0
    overrides = [*(set_ or ()), *(again.overrides if again else ())]
    settings, local, loaded = _loaded(config, overrides, expert)
    sampling, checkpoints = settings.sampling, loaded.digests
    if again is not None:
        again.refuse_others(checkpoints)
    wished = None if size is None else size_in(size)
    shape = None if wished is None else loaded.shape_at(wished, sampling.gate)
    # The main one is left out, as in recipes of images that nobody asked a size for.
    size = None if wished is None or shape is None else size_name(wished)
    cond, names = asked_for(
        loaded.conditioning, loaded.class_names, loaded.load_encoder(), asked or (), num
    )
    seeds = range(seed, seed + num)
    folder = out or local / "samples" / ("again" if again else _below(sampling, size, asked or ()))
    wanted = {
        folder / f"{number:06d}{_slug(name)}.png": Recipe(
            seed=number,
            condition=name,
            solver=sampling.solver,
            steps=sampling.steps,
            guidance=sampling.guidance,
            strategy=sampling.strategy,
            gate=sampling.gate,
            checkpoints=checkpoints,
            ema_length=sampling.ema_length,
            size=size,
        )
        for number, name in enumerate(names, start=seed)
    }
    _try(folder)
    images, before = drawn_before(wanted), True
    if images is None:
        seeds, before = range(seed, seed + num), False
        sampler = loaded.sampler(sampling.strategy)
        batches = sampler.batches(Wanted(seeds, cond, shape=shape), sampling)
        images = _painted(map(sampler.decode, batches), num)
    grid = folder / "grid.png"
    with _written(folder):
        for image, (path, recipe) in zip(images, wanted.items(), strict=True):
            if not before:
                save_png(path, image, recipe)
        shown = enlarged(images, _SHOWN_SIDE)
        save_png(grid, tiled(labelled(shown, names) if any(names) else shown))
    drawn = "1 image" if num == 1 else f"{num} images"
    by = f"{'already drawn: ' if before else ''}{drawn} by {sampling.strategy}"
    each = "with its recipe, and" if num == 1 else "each with its recipe, and all"
    say(f"{by}, {each} on one sheet: {grid}")
    if json_:
        print_json(
            [
                {"seed": recipe.seed, "condition": recipe.condition, "image": str(path)}
                for path, recipe in wanted.items()
            ]
        )


def _loaded(
    config: Path | None, overrides: list[str], expert: Path | None
) -> tuple[Any, Path, Any]:
    """Settings, a folder for images, and what paints them: a run's ensemble or an expert."""
    from atoll import layout
    from atoll.blobs import open_store
    from experts.devices import device_of
    from router.alone import ALONE, load_alone
    from router.load import load_ensemble

    if expert is not None:
        settings = read_config(config, [*overrides, *ALONE])
        return settings, Path(), load_alone(expert, settings.latents, device_of(settings.island))
    settings = run_config(config, overrides)
    local, device = layout.state_folder(settings.run.uri), device_of(settings.island)
    store = open_store(settings.run.uri)
    return settings, local, load_ensemble(store, settings, local / "cache", device)


def _painted(batches: Any, num: int) -> Any:
    import numpy as np

    done: list[Any] = []
    with progress_bars() as progress:
        for batch in batches:
            done.append(batch)
            progress("drawing images", sum(map(len, done)), num)
    return np.concatenate(done)


def _try(folder: Path) -> None:
    """Make the folder, and a file in it: better to know before the images are drawn."""
    with _written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(
            f"{folder} cannot be written: {error}; choose another --out, or make room there"
        ) from error


def _below(sampling: SamplingSection, size: str | None, asked: Sequence[str]) -> str:
    """Where images lie, apart from those of another prompt, size, strategy or average."""
    length = sampling.ema_length
    averaged = None if length is None else f"ema-{length:g}"
    told = _slug(" ".join(asked))
    if asked and told != f"-{asked[0]}":  # a name that others share
        told += f"-{digest_of(list(asked))[:6]}"
    return "-".join(filter(None, (sampling.strategy, size, averaged))) + told


def _slug(name: str) -> str:
    """A condition as part of a file's name; "" without one."""
    plain = re.sub(r"\W+", "-", name).strip("-")[:40]
    return f"-{plain}" if plain else ""
