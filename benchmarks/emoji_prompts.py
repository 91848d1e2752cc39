"""How far a run hears prompts: emoji of names that its experts have learned, and of names held out.

    python benchmarks/emoji_prompts.py configs/emoji_text.toml --set data.path=emoji32.npz

Some names of either kind, drawn at random, are painted by a trained run, and all emoji are ranked
by how much they look like each painted one: by means over 4 x 4 pixels. Told is the share of them
that look more like it than the emoji of that name, the median over the names. Baseline: chance,
which gives one half. Prints one JSON line, and draws the names of SHOWN beside their emoji.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from atoll import layout
from atoll.blobs import open_store
from atoll.config import Config
from atoll.config_file import read_config
from experts.devices import device_of
from partition.sheet import enlarged, labelled, tiled
from router.load import load_ensemble
from router.sampling import Wanted

KINDS = ("learned", "held out")
SHOWN = {
    "learned": (
        *("grinning face", "cat face", "red apple", "pizza", "yellow circle", "red heart"),
        *("woman cook: dark skin tone", "thumbs up: light skin tone", "evergreen tree"),
        *("woman facepalming", "snowman", "person running: medium skin tone"),
    ),
    "held out": (
        *("blue heart", "blue square", "full moon face", "expressionless face"),
        *("red triangle pointed up", "boy: dark skin tone", "man judge: medium skin tone"),
        *("watermelon", "pear", "girl: light skin tone", "alien"),
        "woman lifting weights: dark skin tone",
    ),
}
_CELL = 4  # pixels of a side whose mean is looked at
_SIDE = 96  # of an image, pixels
_COLUMNS = 6
_HEAD = 28  # pixels above a kind's rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--names", type=int, default=64, help="of each kind, to be ranked")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    config = read_config(options.config, options.overrides)
    with np.load(str(config.data.path)) as data:
        emoji, names, held_out = data["x"], data["name"].astype(str), data["heldout"]
    of_kind = dict(zip(KINDS, (np.flatnonzero(~held_out), np.flatnonzero(held_out)), strict=True))
    draw = np.random.default_rng(0)
    ranked = {kind: draw.permutation(of)[: options.names] for kind, of in of_kind.items()}
    shown = {kind: np.flatnonzero(np.isin(names, SHOWN[kind])) for kind in KINDS}
    asked = np.concatenate([*ranked.values(), *shown.values()])
    painted = paint(config, names[asked].tolist())
    rank = shares(painted, emoji, asked)
    rows, begin = {}, 0
    for kind, of in ranked.items():
        rows[kind] = medians(rank[begin : begin + len(of)], names[of])
        begin += len(of)
    if options.picture:
        draw_picture(options.picture, painted[begin:], emoji, names, shown)
    settings = {"names": options.names, "guidance": config.sampling.guidance}
    print(json.dumps({"benchmark": "emoji_prompts", **settings, "share_ahead": rows}))


def paint(config: Config, prompts: list[str]) -> NDArray[np.uint8]:
    """An image of each prompt, the seeds from 0 on, by the run's own strategy: (N, H, W, C)."""
    cache = layout.state_folder(config.run.uri) / "cache"
    loaded = load_ensemble(open_store(config.run.uri), config, cache, device_of(config.island))
    encoder = loaded.load_encoder()
    assert encoder is not None
    cond = torch.from_numpy(encoder.encode(prompts))  # where too long, cut as it was for experts
    sampler = loaded.sampler(config.sampling.strategy)
    return sampler.draw(Wanted(range(len(prompts)), cond), config.sampling)


def shares(
    painted: NDArray[np.uint8], emoji: NDArray[np.uint8], asked: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Of each painted image, the share of all emoji that look more like it than the asked one."""
    seen, known = _coarse(painted), _coarse(emoji)
    away = np.linalg.norm(seen[:, None] - known[None], axis=2)
    return (away < away[np.arange(len(asked)), asked][:, None]).mean(1)


def medians(shares_: NDArray[np.float64], names: NDArray[np.str_]) -> dict[str, Any]:
    """Medians over all names, those with a tone of skin, and the others."""
    toned = np.char.find(names, "skin tone") >= 0
    parts = {"all": toned | ~toned, "with a skin tone": toned, "without": ~toned}
    return {
        name: round(float(np.median(shares_[part])), 4) for name, part in parts.items() if any(part)
    }


def _coarse(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    num, height, width, channels = images.shape
    cells = (num, height // _CELL, _CELL, width // _CELL, _CELL, channels)
    means: NDArray[np.float64] = images.reshape(cells).mean((2, 4))
    return means.reshape(num, -1)


def draw_picture(
    path: Path,
    painted: NDArray[np.uint8],
    emoji: NDArray[np.uint8],
    names: NDArray[np.str_],
    shown: dict[str, NDArray[np.int64]],
) -> None:
    """Painted images beside the emoji of their names, kind by kind."""
    parts, begin = [], 0
    for kind, of in shown.items():
        own = painted[begin : begin + len(of)]
        begin += len(of)
        pairs = np.concatenate([enlarged(own, _SIDE), enlarged(emoji[of], _SIDE)], axis=2)
        rows = tiled(labelled(pairs, names[of].tolist()), _COLUMNS)
        head = Image.new("RGB", (rows.shape[1], _HEAD), "white")
        title = f"Names {kind}: painted, and the emoji itself"
        ImageDraw.Draw(head).text((2, 6), title, (30, 30, 30), ImageFont.load_default(14))
        parts += [np.asarray(head), rows]
    Image.fromarray(np.concatenate(parts)).save(path)


if __name__ == "__main__":
    main()
