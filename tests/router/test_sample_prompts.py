"""Prompts are encoded as the captions were that a run has learned from, wherever they are given."""

import dataclasses
import json
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from atoll.__main__ import main
from atoll.config_file import save_config
from atoll.errors import BadInput, BlobDamaged, CheckpointMismatch
from atoll.latents_section import LatentsSection
from atoll.node_cache import NodeCache
from experts.exchange.exporting import expert_model, text_model, write_ours
from experts.prompting import prompt_encoder
from partition.reader import ShardReader
from partition.stage import load_partition
from router.alone import load_alone
from router.load import load_ensemble
from router.sampling import Wanted
from serving.service.order import Order
from tests import text_models
from tests.serving.built import Built, finished
from tests.trained_run import SETTINGS, copied, train_run

CPU = torch.device("cpu")
NAMES = ["a red apple", "a green pear", "black cat", "pear", "grinning face", "the dog"]


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory):
    """A run on the vectors of a CLIP, which is gone by the time that prompts are given."""
    folder = tmp_path_factory.mktemp("told")
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)
    np.savez(folder / "data.npz", images=images, names=np.array(NAMES * 10))
    encoder = text_models.write_clip(folder / "clip", whole=True)
    sections = {
        "data": {
            "source": "npz",
            "path": str(folder / "data.npz"),
            "labels": None,
            "captions": "names",
        },
        "captions": {"encoder": {"transformers": encoder}, "tokens": 6, "workers": 1},
        "expert": {
            **SETTINGS["expert"],
            "condition": "text",
            "cross_attention": True,
            "modulation": "single",
        },
        "evaluation": {"monolith": False},
    }
    train_run(folder, **sections)
    shutil.rmtree(encoder)
    return folder, sections


@pytest.fixture
def trained(trained_folder, tmp_path):
    folder, sections = trained_folder
    run = copied(folder / "run", tmp_path, **sections)
    save_config(run.store, run.config)
    return run


def command(capsys, *arguments):
    try:
        main([*arguments])
    except SystemExit as leaving:
        code = leaving.code or 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def loaded_of(trained):
    return load_ensemble(trained.store, trained.config, trained.folder / "cache", CPU)


def exported(trained, out):
    store, cache = trained.store, trained.folder / "cache"
    ref = loaded_of(trained).checkpoints["expert-0"]
    model = expert_model(store, trained.config, "expert-0", ref, cache)
    write_ours(out, model, text_model(store, model, cache))
    return out


def test_prompt_is_told_as_the_caption_of_the_same_words_was(trained):
    loaded, partition = loaded_of(trained), load_partition(trained.store)
    assert loaded.conditioning.name.startswith("text:6x16:clip-")
    samples = ShardReader(trained.store, partition, None, NodeCache(trained.folder / "c"), 0)
    batch = samples.batch(0, 12)
    told = loaded.load_encoder().encode(batch.captions)
    assert set(batch.captions) == set(NAMES)
    np.testing.assert_allclose(batch.texts, told, rtol=2e-3, atol=1e-3)
    assert batch.texts[batch.captions.index("the dog")].any(1).tolist() == [True] * 4 + [False] * 2


def test_sample_paints_prompts_with_the_run_alone(trained, capsys):
    flags = ("--set", f"run.uri={trained.uri}", "--json", "--num", "3")
    code, out, err = command(capsys, "sample", *flags, "--prompt", "a red dog", "--prompt", "")
    assert code == 0, err
    assert [row["condition"] for row in json.loads(out)] == ["a red dog", "", "a red dog"]


def test_sample_hears_no_other_tokens_of_a_prompt_than_of_captions(trained, capsys):
    flags = ("--set", f"run.uri={trained.uri}", "--set", "captions.tokens=5")
    code, _, err = command(capsys, "sample", *flags, "--prompt", "a red dog")
    assert code == 2
    assert "made with captions.tokens = 6, and the configuration now says 5; give new" in err


def test_service_tells_its_networks_what_the_sampler_does(trained):
    with closing(Built(trained)) as built:
        built.service.start()
        view = finished(built.service.order(Order(("a red dog", "pear"), num=2, seed=3), "me"))
    assert view.state == "done"
    loaded = loaded_of(trained)
    cond = torch.from_numpy(loaded.load_encoder().encode(["a red dog", "pear"]))
    expected = loaded.sampler("top-1").draw(Wanted([3, 4], cond), trained.config.sampling)
    images = np.stack([it.image for it in view.images]).astype(int)
    assert np.abs(images - expected).max() <= 1


def test_exported_expert_paints_prompts_by_the_model_beside_it(trained, tmp_path, capsys):
    out = exported(trained, tmp_path / "out")
    assert "for each of up to 6 tokens" in (out / "README.md").read_text()
    flags = ("--expert", str(out), "--num", "1", "--prompt", "a red dog")
    code, _, err = command(capsys, "sample", *flags, "--out", str(tmp_path / "images"))
    assert code == 0, err
    told = load_alone(out, LatentsSection(), CPU).load_encoder().encode(["a red dog"])
    assert np.array_equal(told, loaded_of(trained).load_encoder().encode(["a red dog"]))


def test_exported_expert_without_its_text_model_or_with_another_says_so(trained, tmp_path):
    out = exported(trained, tmp_path / "out")
    shutil.rmtree(out / "text_encoder")
    with pytest.raises(BadInput, match="not beside it; put its folder there as text_encoder"):
        load_alone(out, LatentsSection(), CPU).load_encoder()
    text_models.write_clip(out / "text_encoder", seed=1, whole=True)
    with pytest.raises(BadInput, match=r"text_encoder is clip-.*; put the right model there"):
        load_alone(out / "model.safetensors", LatentsSection(), CPU).load_encoder()


def test_prompts_of_a_run_whose_captions_another_model_encoded_are_refused(trained):
    partition, conditioning = load_partition(trained.store), loaded_of(trained).conditioning
    given = (conditioning, trained.folder / "cache", CPU)
    texts = dataclasses.replace(partition.texts, encoder="t5-0123456789abcdef")
    other = dataclasses.replace(partition, texts=texts)
    with pytest.raises(CheckpointMismatch, match=r"that clip-.* encoded, and those of its parti"):
        prompt_encoder(trained.store, other, *given)
    bare = dataclasses.replace(partition, texts=None)
    with pytest.raises(CheckpointMismatch, match="its partition has none"):
        prompt_encoder(trained.store, bare, *given)


def test_text_model_of_the_run_that_is_damaged_is_told(trained):
    file = next(Path(trained.uri).glob("models/*/model.safetensors"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(BlobDamaged):
        loaded_of(trained).load_encoder()
