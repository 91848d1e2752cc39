import json

import pytest
import torch

from atoll.errors import BadInput, ConfigError
from atoll.types import Role
from experts.dialect import SIT
from experts.exchange.exporting import write_ours
from experts.exchange.model import Model, read_model, write_model
from experts.expert import expert_task
from experts.load import load_expert
from experts.networks import build_network, network_like

ABOUT = {
    "sizes": {"width": 16, "depth": 1, "heads": 2, "patch": 4},
    "shape": [1, 8, 8],
    "conditioning": {"kind": "class", "size": 10, "encoder": ""},
    "dialect": SIT.told,
    "objective": "velocity",
    "class_names": [str(number) for number in range(10)],
    "made": {"imported from": "sit.pt"},
}


@pytest.fixture
def begin(tmp_path, make_run):
    """A run whose experts begin from a model that is told of as ABOUT, but for what is given."""

    def make(training=(), **others):
        about = {**ABOUT, **others}
        torch.manual_seed(0)
        model = Model(about, network_like(about).state_dict())
        write_ours(tmp_path / "init", model)
        return make_run(
            expert={"init": str(tmp_path / "init")}, training={"steps": 1, **dict(training)}
        ), model

    return make


def task_of(run, role=Role.EXPERT, number=0):
    return expert_task(run.config, run.assignment(role, number=number).spec, run.partition)


def test_experts_and_monolith_begin_with_the_weights_of_init(begin):
    run, model = begin()
    for role, number in ((Role.EXPERT, 0), (Role.EXPERT, 1), (Role.MONOLITH, 0)):
        weights = task_of(run, role, number).build().state_dict()
        assert weights.keys() == model.weights.keys()
        assert all(torch.equal(weights[name], model.weights[name]) for name in weights)


def test_expert_begun_from_another_program_keeps_computing_as_that_does(begin):
    run, _ = begin()
    run.train(run.assignment())
    loaded = load_expert(run.store, run.published()[-1], run.folder / "cache", torch.device("cpu"))
    assert loaded.model.dialect == SIT
    assert loaded.checkpoint.about["dialect"] == {"scale": -1.0, "offset": 1.0}


def test_expert_of_other_classes_and_larger_images_keeps_what_fits(begin):
    conditioning = {"kind": "class", "size": 1000, "encoder": ""}
    run, model = begin(conditioning=conditioning, shape=[1, 16, 16])
    task = task_of(run)
    weights, fresh = (
        task.build().state_dict(),
        build_network(task.sizes, task.noising.conditioning, task.shape, 0),
    )
    assert weights["y_embedder.embedding_table.weight"].shape == (11, 16)
    assert torch.equal(weights["pos_embed"], fresh.pos_embed)
    rest = weights.keys() - {"y_embedder.embedding_table.weight", "pos_embed"}
    assert all(torch.equal(weights[name], model.weights[name]) for name in rest)


@pytest.mark.parametrize(
    ("others", "names"),
    [
        (
            {"sizes": {"width": 16, "depth": 2, "heads": 2, "patch": 4}},
            "depth 2, .* asks for a DiT of width 16, depth 1",
        ),
        ({"shape": [4, 8, 8]}, "paints 4 channels, and the data have 1"),
        (
            {"objective": "epsilon"},
            r'expert\.init .* tell "epsilon", and training\.objective, .* asks for "velocity"; set',
        ),
    ],
)
def test_init_of_another_network_is_refused_by_what_differs(begin, others, names):
    run, _ = begin(**others)
    with pytest.raises(ConfigError, match=names):
        task_of(run)


@pytest.mark.parametrize("objective", ["epsilon", "v"])
def test_init_that_learned_on_another_schedule_of_noise_is_refused(begin, objective):
    run, _ = begin({"objective": objective}, objective=objective, noise_schedule="cosine")
    words = r'on the "cosine" schedule of noise, and training\.noise_schedule = "linear"; set that'
    with pytest.raises(ConfigError, match=words):
        task_of(run)


@pytest.mark.parametrize("objective", ["epsilon", "velocity"])
def test_init_of_the_same_schedule_of_noise_or_of_none_is_begun_from(begin, objective):
    schedules = ["cosine"] * 2 if objective == "epsilon" else ["linear", "cosine"]
    training = {"objective": objective, "noise_schedule": schedules[0]}
    run, _ = begin(training, objective=objective, noise_schedule=schedules[1])
    assert task_of(run).start is not None


def test_init_that_is_not_there_or_no_experts_is_refused(make_run, tmp_path):
    run = make_run(expert={"init": str(tmp_path / "nowhere")})
    with pytest.raises(BadInput, match="nowhere is not there"):
        task_of(run)
    (tmp_path / "other").write_bytes(b"no safetensors")
    run = make_run(expert={"init": str(tmp_path / "other")})
    with pytest.raises(BadInput, match="is no file of safetensors"):
        task_of(run)


@pytest.mark.parametrize(
    ("key", "told", "words"),
    [
        ("sizes", None, "sizes: Field required"),
        ("sizes", {"width": 16, "heads": 2, "patch": 4}, r"sizes\.depth: Field required"),
        ("sizes", {**ABOUT["sizes"], "deep": 1}, r"sizes\.deep: Extra"),
        ("sizes", {**ABOUT["sizes"], "modulation": "none"}, r"sizes\.modulation: Input should be"),
        ("sizes", {**ABOUT["sizes"], "cross_attention": 1}, r"sizes\.cross_attention: .*boolean"),
        ("sizes", {"width": 16, "depth": 1, "heads": 3, "patch": 4}, "heads = 3 does not divide"),
        ("sizes", {"width": "16", "depth": 1, "heads": 2, "patch": 4}, r"sizes\.width: .* integer"),
        ("shape", [1, 8], "shape"),
        ("conditioning", {"kind": "sound", "size": 1}, r"conditioning\.kind: Input should be"),
        ("conditioning", {"kind": "class", "count": 1}, r"conditioning\.count: Extra"),
        ("dialect", {"tongue": 1}, r"dialect\.tongue: Extra"),
        ("objective", "score", "objective: Input should be"),
    ],
)
def test_file_that_tells_of_no_network_is_refused_by_what_is_wrong(tmp_path, key, told, words):
    about = {**ABOUT, key: told}
    if told is None:
        del about[key]
    header = json.dumps({"__metadata__": {"atoll": json.dumps(about)}}).encode()
    (tmp_path / "foreign").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(BadInput, match=f"foreign does not tell .*{words}.*; export or import it"):
        read_model(tmp_path / "foreign")


def test_file_cut_short_or_of_other_weights_is_refused(tmp_path):
    weights = network_like(ABOUT).state_dict()
    write_ours(tmp_path / "whole", Model(ABOUT, weights))
    whole = (tmp_path / "whole" / "model.safetensors").read_bytes()
    for num in (100, len(whole) - 100):  # in the header, and in the weights
        (tmp_path / "short").write_bytes(whole[:num])
        with pytest.raises(BadInput, match=r"short cannot be read as safetensors: .*; copy it"):
            read_model(tmp_path / "short")
    write_ours(tmp_path / "other", Model({**ABOUT, "shape": [1, 16, 16]}, weights))
    with pytest.raises(BadInput, match="is of no DiT: its pos_embed is of shape"):
        read_model(tmp_path / "other")


def test_export_that_is_interrupted_leaves_nothing_and_the_next_goes_well(tmp_path):
    model, out = Model(ABOUT, network_like(ABOUT).state_dict()), tmp_path / "out"
    with pytest.raises(BadInput, match="out cannot be written"):  # after the weights are
        write_model(out, model, "a card", others={"nowhere/config.json": "{}"})
    assert not list(tmp_path.iterdir())
    out.mkdir()
    write_ours(out, model)
    assert read_model(out).about == ABOUT
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(BadInput, match="out is not empty; choose another --out"):
        write_ours(out, model)
