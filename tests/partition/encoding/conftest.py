"""Small coloured images in three clusters, and an autoencoder for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atoll.config import Config
from partition.encoding import workers
from partition.stage import run_partition
from tests.autoencoders import write_vae


def quiet(*_: object) -> None:
    pass


@pytest.fixture(scope="session")
def vae(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_vae(tmp_path_factory.mktemp("models") / "vae", blocks=2)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "data.npz"
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)
    np.savez(path, images=images, labels=np.arange(60) % 3)
    return path


Settings = Callable[..., Config]


@pytest.fixture
def settings(tmp_path: Path, vae: str, data: Path) -> Settings:
    """A run below the test's folder, whose keys may be replaced by name."""

    def make(run: str = "run", **latents: Any) -> Config:
        return Config.model_validate(
            {
                "run": {"uri": str(tmp_path / run)},
                "data": {"source": "npz", "path": str(data)},
                "partition": {"num_experts": 2, "num_fine": 6, "samples_per_shard": 10},
                "latents": {"vae": vae, "workers": 1, "batch_size": 4, **latents},
                "expert": {"width": 16, "depth": 1, "heads": 2, "patch": 2},
                "router": {"width": 16, "depth": 1, "heads": 2, "patch": 2},
            }
        )

    return make


@pytest.fixture
def partitioned(settings: Settings) -> Callable[..., Any]:
    """Makes a run; returns its settings and its partition, which is not encoded yet."""

    def make(run: str = "run", **latents: Any) -> Any:
        config = settings(run, **latents)
        return config, run_partition(config, quiet)

    return make


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], list[Any]]:
    """Kills an encoding after three tars, and lets later ones go on; a list of what both made."""

    def after_three(encode: Callable[[], object]) -> list[Any]:
        encode_shard, done = workers.encode_shard, list[Any]()

        def dying(*given: Any, **named: Any) -> Any:
            if len(done) == 3:
                raise KeyboardInterrupt
            done.append(encode_shard(*given, **named))
            return done[-1]

        monkeypatch.setattr(workers, "encode_shard", dying)
        with pytest.raises(KeyboardInterrupt):
            encode()
        monkeypatch.setattr(
            workers, "encode_shard", lambda *a, **n: done.append(1) or encode_shard(*a, **n)
        )
        return done

    return after_three
