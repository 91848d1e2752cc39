import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from atoll import stages
from atoll.__main__ import main
from experts.exchange.field import expert_of
from experts.exchange.model import read_model
from experts.expert import expert_task
from experts.load import load_expert


def ended(*arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code


def test_export_command_writes_what_was_trained_and_a_card_that_tells_of_it(run, capsys):
    run.train(run.assignment())
    ref, uri = run.published()[-1], f"run.uri={run.config.run.uri}"
    stages.finish(run.store, "train", {}, {"expert-0": asdict(ref)})
    out = run.folder / "expert"
    assert not ended("export", "expert-0", "-o", str(out), "-s", uri)
    device = torch.device("cpu")
    loaded = load_expert(run.store, ref, run.folder / "cache", device)
    saved = load_file(loaded.checkpoint.files["ema.safetensors"])
    model = read_model(out)
    assert model.weights.keys() == saved.keys()
    assert all(torch.equal(model.weights[name], saved[name]) for name in saved)
    x, t, cond = torch.randn(2, 1, 8, 8), torch.rand(2), torch.tensor([3, 10])
    assert torch.equal(expert_of(model).field(x, t, cond), loaded.model(x, t, cond))
    assert model.about["class_names"] == list(run.partition.class_names)
    assert model.about["compat"] == loaded.checkpoint.compat
    card = (out / "README.md").read_text()
    count = sum(parameter.numel() for parameter in loaded.model.parameters())
    for part in (
        f"| parameters | {count:,} |",
        "| step | 20 |",
        "| job | expert-0 |",
        "| run | run |",
    ):
        assert part in card
    assert ended("export", "expert-7", "-o", str(out), "-s", uri) == 2
    assert "expert-7 is no trained expert; there are expert-0" in capsys.readouterr().err


def test_exported_aligned_expert_is_the_network_without_its_aligner_and_can_be_begun_from(make_run):
    sections = {"expert": {"depth": 2}, "training": {"align": 0.5, "steps": 2}}
    run = make_run(**sections)
    run.train(run.assignment())
    ref = run.published()[-1]
    stages.finish(run.store, "train", {}, {"expert-0": asdict(ref)})
    out = run.folder / "expert"
    assert not ended("export", "expert-0", "-o", str(out), "-s", f"run.uri={run.config.run.uri}")
    loaded = load_expert(run.store, ref, run.folder / "cache", torch.device("cpu")).model
    expected = loaded.state_dict()
    model = read_model(out)
    assert model.weights.keys() == expected.keys()
    count = sum(parameter.numel() for parameter in loaded.parameters())
    assert f"| parameters | {count:,} |" in (out / "README.md").read_text()

    begun = make_run(**{**sections, "expert": {"depth": 2, "init": str(out)}})
    network = expert_task(begun.config, begun.assignment().spec, begun.partition).build()
    assert network.aligner is not None
    given = network.state_dict()
    assert all(torch.equal(given[name], expected[name]) for name in expected)


def test_export_for_diffusers_comes_back_as_it_was_and_draws_as_its_card_says(run, monkeypatch):
    run.train(run.assignment())
    ref, uri = run.published()[-1], f"run.uri={run.config.run.uri}"
    stages.finish(run.store, "train", {}, {"expert-0": asdict(ref)})
    there, back, ours = (str(run.folder / name) for name in ("there", "back", "ours"))
    assert not ended("export", "expert-0", "-o", there, "-s", uri, "--for", "diffusers")
    assert not ended("import", there, "-o", back)
    assert not ended("export", "expert-0", "-o", ours, "-s", uri)
    first, second = (read_model(run.folder / name) for name in ("back", "ours"))
    assert first.about == second.about
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in second.weights)
    monkeypatch.chdir(there)
    (code,) = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    exec(code, drawn := {})  # noqa: S102 - it is ours
    assert drawn["images"].shape == (4, *first.about["shape"])
    assert drawn["images"].isfinite().all()
