"""Keys that another key leaves without effect are refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from atoll.config import Config
from atoll.config_file import commented, read_config
from atoll.errors import ConfigError


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["training.times_mean=1.0"], 'training.times_mean = 1.0 has no effect with times = "unif'),
        (["training.times=snr", "training.times_shift=2.0"], 'or set times to "shifted"'),
        (["training.route_after=1"], "has no effect with route_tokens = 0.0; leave it out, or set"),
        (["training.align_depth=1"], "has no effect with align = 0.0; leave it out, or set align"),
        (["training.immiscible=1"], "is 1, and one row has but one noise to choose; give at least"),
        (["training.noise_schedule=cosine"], 'or set objective to "epsilon" or "v"'),
        (["training.ema_lengths=[0.1]"], 'or set ema_profile to "power"'),
        (["training.ema_profile=power", "training.ema_decay=0.9"], "training.ema_decay = 0.9 has"),
        (["expert.preset=DiT-S/2", "expert.patch=4"], "expert.patch = 4 has no effect with preset"),
        (["expert.preset=DiT-S/2", "expert.width=8"], "; leave one of them out"),
        (["latents.scale=2.0"], "latents.scale = 2.0 has no effect with no vae; leave it out, or"),
        (["data.path=x"], 'set source to "npz" or "folder" or "webdataset"'),
        (["serving.reuse_change=0.1"], "reuse_change = 0.1 has no effect with reuse_blocks = 1"),
        (
            ["serving.reuse_blocks=2", "serving.deterministic=true"],
            "reuse_blocks = 2 does not go with serving.deterministic: set it to 1",
        ),
        (
            ["serving.reuse_routes=2", "serving.deterministic=true"],
            "reuse_routes = 2 does not go with serving.deterministic: set it to 1",
        ),
        (
            ["serving.experts=['127.0.0.1:8210']", "serving.experts_displaced=true"],
            "experts_displaced = true is for what is drawn in one go",
        ),
        (["serving.experts_tls=web"], 'experts_tls = "web" has no effect with experts = []'),
        (["serving.experts_steps=2"], "experts_steps = 2 has no effect with experts = []"),
        (
            ["serving.reuse_blocks=2", "serving.experts=['127.0.0.1:8210']"],
            "reuse_blocks = 2: servers of experts reuse blocks within what they draw in one",
        ),
        (["data.source=folder", "data.path=x", "data.exclude=['a']"], 'exclude = ["a"] has no eff'),
        (["partition.features={transformers='x'}", "partition.pca_dims=9"], "pca_dims = 9 has no"),
        (
            ["captions.encoder={transformers='x'}", "captions.dims=9"],
            'captions.dims = 9 has no effect with encoder = {"transformers": "x"}; leave it out',
        ),
    ],
)
def test_key_that_another_leaves_without_effect_is_refused(
    overrides: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_config(None, overrides)


def test_keys_with_their_defaults_are_never_without_effect(tmp_path: Path) -> None:
    (tmp_path / "all.toml").write_text(commented(Config()))
    config = read_config(tmp_path / "all.toml", ["training.times=shifted", "training.align=1"])
    assert config.training.times == "shifted"
