"""A small run of the digits as latents of 4 x 4 x 4, really trained, in this process."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

from atoll import stages
from atoll.config import Config
from atoll.config_file import save_config
from atoll.jobs import shaping_settings
from atoll.types import Role
from partition.encoding.stage import run_encode
from partition.stage import run_partition
from tests.autoencoders import write_vae
from tests.trained_run import Run

SETTINGS = {
    "partition": {"num_experts": 2, "num_fine": 8},
    "expert": {"width": 16, "depth": 1, "heads": 2, "patch": 2},
    "training": {"steps": 3, "batch_size": 16, "checkpoint_every_steps": 3, "held_out": 4},
    "router": {"width": 16, "depth": 1, "heads": 2, "patch": 2, "steps": 3, "batch_size": 16},
    "sampling": {"steps": 3},
    "evaluation": {"num_samples": 60, "strategies": ["top-1"], "monolith": False},
}


def train_latent_run(folder: Path) -> Run:
    """Partition, encode, train and route below a folder, whose autoencoder is ``gone`` by then."""
    vae = write_vae(folder / "vae", channels=1, blocks=2)
    latents = {"vae": vae, "workers": 1, "batch_size": 64, "scale": "measured"}
    tree = {"run": {"uri": str(folder / "run")}, "latents": latents, **SETTINGS}
    run = Run(Config.model_validate(tree), folder)
    made = run_partition(run.config, lambda *_: None)
    run_encode(run.config, made, lambda *_: None)
    (folder / "vae").rename(folder / "gone")  # the run alone is enough from here on
    for stage, role, num in (("train", Role.EXPERT, 2), ("route", Role.ROUTER, 1)):
        specs = [run.spec(role, number) for number in range(num)]
        refs = {spec.name: asdict(run.train(spec)) for spec in specs}
        stages.finish(run.store, stage, shaping_settings(run.config, made.digest, role), refs)
    save_config(run.store, run.config)
    return run


def copied(run: Run, folder: Path) -> Run:
    """A copy of the run, below a folder of its own."""
    shutil.copytree(run.uri, folder / "run")
    here = run.config.run.model_copy(update={"uri": str(folder / "run")})
    return Run(run.config.model_copy(update={"run": here}), folder)
