"""How fast images become latents, by one process and by one for each core.

    python benchmarks/encoding.py

Baseline: the loop one writes with diffusers, over a folder of the same PNGs in torch's DataLoader,
with torch's own threads, one for each core, and once more with one thread. It keeps the moments of
a batch as one ``.npy``; ours reads the tars of a partition, and writes tars with a digest and a
record each. The autoencoder is random, of two halvings. Rates leave the first tar out, and with it
the start of the processes, which is told as seconds: it is paid once, however many images follow.
Processor time is of all processes, with the start of those that are started.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from atoll.config import Config
from partition.encoding.stage import run_encode
from partition.stage import run_partition

SIDE, BATCH = 64, 16
Heard = Callable[[int], None]


class Folder(Dataset[torch.Tensor]):
    """PNGs as an encoder takes them."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.png"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            pixels = torch.from_numpy(np.array(image))
        return pixels.permute(2, 0, 1).contiguous().float() / 127.5 - 1


def plain(vae: Path, images: Path, out: Path, heard: Heard, threads: int) -> None:
    """The baseline."""
    torch.set_num_threads(threads)
    out.mkdir()
    model = AutoencoderKL.from_pretrained(vae).eval()
    loader = DataLoader(Folder(images), batch_size=BATCH)
    heard(0)
    with torch.inference_mode():
        for number, batch in enumerate(loader):
            moments = model.encode(batch).latent_dist.parameters
            np.save(out / f"{number}.npy", moments.half().numpy())
            heard((number + 1) * BATCH)


def ours(config: Config, heard: Heard) -> None:
    """Ours, into a run of its own."""
    made = run_partition(config, lambda *_: None)
    heard(0)
    run_encode(config, made, lambda _, done, __: heard(done))


def measured(work: Callable[[Heard], None], num: int, shard: int) -> dict[str, float]:
    """Images a second after as many as a tar holds, and the seconds before these were done."""
    told: list[tuple[int, float]] = []
    used: list[float] = []

    def heard(done: int) -> None:
        told.append((done, time.perf_counter()))
        if done == 0:
            used.append(sum(os.times()[:4]))

    work(heard)
    begun = max(at for done, at in told if done == 0)
    first, since = next((done, at) for done, at in told if done >= shard)
    ended = told[-1][1]
    return {
        "images_per_s": (num - first) / (ended - since),
        "first_tar_s": since - begun,
        "whole_s": ended - begun,
        "processor_s": sum(os.times()[:4]) - used[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=768)
    parser.add_argument("--shard", type=int, default=48)
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        torch.manual_seed(0)
        model = AutoencoderKL(
            block_out_channels=(32, 64, 64),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
        )
        model.save_pretrained(folder / "vae")
        (folder / "images").mkdir()
        draw = np.random.default_rng(0)
        for index in range(given.samples):
            pixels = draw.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{index:06d}.png")

        def config(workers: int) -> Config:
            return Config.model_validate(
                {
                    "run": {"uri": str(folder / f"run-{workers}")},
                    "data": {"source": "folder", "path": str(folder / "images"), "workers": 0},
                    "partition": {
                        "num_experts": 1,
                        "num_fine": 1,
                        "pca_dims": 2,
                        "samples_per_shard": given.shard,
                    },
                    "expert": {"condition": "none"},
                    "latents": {
                        "vae": str(folder / "vae"),
                        "workers": workers,
                        "batch_size": BATCH,
                    },
                    "evaluation": {"extractor": {"transformers": "none"}},
                }
            )

        parts = folder / "vae", folder / "images"
        works: dict[str, Callable[[Heard], None]] = {
            "plain": lambda heard: plain(*parts, folder / "plain", heard, cores),
            "plain_one_thread": lambda heard: plain(*parts, folder / "thread", heard, 1),
            "one": lambda heard: ours(config(1), heard),
            "one_each_core": lambda heard: ours(config(cores), heard),
        }
        found = {name: measured(work, given.samples, given.shard) for name, work in works.items()}
    rates = {name: each["images_per_s"] for name, each in found.items()}
    result = {
        "benchmark": "encoding",
        "cores": cores,
        "samples": given.samples,
        **{name: {key: round(it, 2) for key, it in each.items()} for name, each in found.items()},
        "one_ratio": round(rates["one"] / rates["plain_one_thread"], 2),
        "cores_ratio": round(rates["one_each_core"] / rates["plain"], 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
