"""The whole way on latents: encoded, trained, routed, drawn, judged, exported."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atoll import layout, stages
from atoll.__main__ import main
from atoll.encoded import stage_of
from atoll.errors import BadInput, CheckpointMismatch, StageMissing
from atoll.latents_section import LatentsSection
from atoll.types import CheckpointRef, Role
from evaluation import classifier
from evaluation.real import read_real
from evaluation.stage import run_evaluate
from experts.condition import Conditioning
from experts.exchange.exporting import expert_model, write_ours
from experts.exchange.model import Model
from orchestrator.cli.training import refuse_other_settings, train
from partition.autoencoder import Autoencoder
from partition.images import decode_png
from partition.stage import load_partition
from router.alone import load_alone
from router.load import load_ensemble
from router.sampling import Wanted
from tests.autoencoders import write_vae
from tests.latent_run import copied, train_latent_run
from tests.trained_run import Run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_latent_run(tmp_path_factory.mktemp("latents"))


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    return copied(trained, tmp_path)


@pytest.fixture(scope="module")
def autoencoder(trained: Run) -> Autoencoder:
    return Autoencoder(trained.folder / "gone", CPU)


def ensemble_of(run: Run):
    return load_ensemble(run.store, run.config, run.folder / "cache", CPU)


def with_vae(run: Run, vae: str | None) -> Run:
    latents = run.config.latents.model_copy(update={"vae": vae})
    return Run(run.config.model_copy(update={"latents": latents}), run.folder)


def test_networks_see_latents_of_measured_scale(trained, autoencoder):
    partition = load_partition(trained.store)
    scale, shift = partition.latents.scale, partition.latents.shift
    assert partition.space.shape == (4, 4, 4)
    assert partition.space.name.startswith(f"latents:{partition.latents.model[:16]}:")
    real = read_real(trained.config, trained.store, partition, Conditioning("class", 10))
    assert real.images.shape[1:] == (8, 8, 1)
    mean, log_variance = autoencoder.encode(real.images).double().chunk(2, dim=1)
    seen = (mean[:200].half().float() - shift) * scale
    assert torch.equal(real.seen(slice(0, 200)), seen)
    variance = (mean.square() + log_variance.exp()).mean() - mean.mean() ** 2
    assert variance.sqrt() * scale == pytest.approx(1, abs=1e-6)


def test_what_is_sampled_is_decoded_by_the_autoencoder_of_the_run(trained, autoencoder):
    sampler = ensemble_of(trained).sampler("top-1")
    wanted = Wanted(range(5), torch.arange(5))
    (x0,) = sampler.batches(wanted, trained.config.sampling)
    latents = load_partition(trained.store).latents
    expected = autoencoder.decode(x0 / latents.scale + latents.shift)
    assert (x0.shape, expected.shape) == ((5, 4, 4, 4), (5, 8, 8, 1))
    assert np.array_equal(sampler.draw(wanted, trained.config.sampling), expected)


def test_another_autoencoder_than_the_runs_draws_nothing(run, tmp_path):
    for other in (str(tmp_path / "nowhere"), write_vae(tmp_path / "other", channels=1, blocks=2)):
        with pytest.raises(BadInput, match=r"made with latents\.vae = .*/vae', .* now says '.*"):
            ensemble_of(with_vae(run, other))
    unnamed = with_vae(run, None)
    assert ensemble_of(unnamed).digests == ensemble_of(run).digests


def test_grid_of_a_checkpoint_shows_images_not_latents(trained):
    ref = stages.require(trained.store, "train", "test")["expert-0"]
    (key,) = [each for each in trained.store.list(ref["key"]) if each.endswith(".png")]
    image_side, latent_side = 8, 4
    side = min(decode_png(trained.store.get_bytes(key)).shape[:2])
    assert side >= 8 * image_side > 8 * latent_side


def test_evaluation_holds_decoded_images_against_real_ones(run, monkeypatch):
    monkeypatch.setattr(classifier, "_STEPS", 5)
    results = run_evaluate(run.config, lambda *_: None)
    assert [row["name"] for row in results["rows"]][-1] == "top-1"
    assert results["reference"]["num_samples"] == 1797
    for key in results["expert_grids"]:
        with Image.open(Path(run.uri) / key) as grid:
            assert grid.size >= (4 * 8, 4 * 8)


def encode_manifest(run):
    return layout.stage_manifest(stage_of("latents", load_partition(run.store).digest))


def test_experts_of_another_scale_are_refused_in_one_sentence(run):
    made = encode_manifest(run)
    manifest = json.loads(run.store.get_bytes(made))
    manifest["result"]["scale"] *= 2
    run.store.publish(made, json.dumps(manifest).encode())
    refs = stages.require(run.store, "train", "test")
    refs["expert-1"] = asdict(run.train(run.spec(Role.EXPERT, 1), epoch=2))
    stages.finish(run.store, "train", {}, refs)
    with pytest.raises(CheckpointMismatch, match=r"space.*latents:\w+:[\d.e+]+:0.*latents:"):
        ensemble_of(run)


def test_training_asks_for_what_is_not_encoded_and_refuses_what_is_not_wanted(run):
    with pytest.raises(BadInput, match=r"has no latents\.vae now; set it back"):
        train(with_vae(run, None).config, "train")
    run.store.delete([encode_manifest(run)])
    with pytest.raises(StageMissing, match=r"run `atoll encode` first"):
        train(run.config, "train")
    refuse_other_settings(run.config)  # an orchestrator may wait for it


def test_exported_expert_draws_with_its_own_autoencoder_and_no_other(
    trained, autoencoder, tmp_path, capsys
):
    ref = CheckpointRef(**stages.require(trained.store, "train", "test")["expert-0"])
    model = expert_model(trained.store, trained.config, "expert-0", ref, tmp_path / "cache")
    write_ours(tmp_path / "expert", model)
    assert "--set latents.vae=" in (tmp_path / "expert" / "README.md").read_text()

    def drawn(*flags: str) -> int:
        flags = ("-o", str(tmp_path / "out"), "-n", "2", "--set", "sampling.steps=3", *flags)
        with pytest.raises(SystemExit) as end:
            main(["sample", "--expert", str(tmp_path / "expert"), *flags])
        return end.value.code

    assert drawn() == 2
    assert "name the autoencoder that decodes them" in capsys.readouterr().err
    other = write_vae(tmp_path / "other", channels=1, blocks=2, seed=5)
    assert drawn("--set", f"latents.vae={other}") == 2
    assert "paints latents of another autoencoder" in capsys.readouterr().err
    assert not drawn("--set", f"latents.vae={trained.folder / 'gone'}")
    images = [np.asarray(Image.open(path)) for path in sorted(tmp_path.glob("out/0*.png"))]
    assert [image.shape for image in images] == [(8, 8), (8, 8)]


def test_expert_that_tells_no_scale_takes_one_of_its_autoencoders_that_is_whole(trained, tmp_path):
    ref = CheckpointRef(**stages.require(trained.store, "train", "test")["expert-0"])
    model = expert_model(trained.store, trained.config, "expert-0", ref, tmp_path / "cache")
    about = {key: told for key, told in model.about.items() if key != "latents"}
    write_ours(tmp_path / "expert", Model(about, model.weights))
    shutil.copytree(trained.folder / "gone", tmp_path / "vae")
    config = tmp_path / "vae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_bytes()), "scaling_factor": 2}))
    section = LatentsSection(vae=str(tmp_path / "vae"))
    decode = load_alone(tmp_path / "expert", section, torch.device("cpu")).decode
    assert (decode.scale, decode.shift) == (2, 0)
