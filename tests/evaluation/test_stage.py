import json
from dataclasses import replace

import pytest
import torch

from atoll import layout, stages
from atoll.errors import BadInput, StageMissing
from atoll.layout import evaluation_picture
from evaluation import compare, stage
from evaluation.report import write_report
from evaluation.stage import find_evaluation, run_evaluate
from router.ensemble import alone
from router.load import load_ensemble


def by_name(results):
    return {row["name"]: row for row in results["rows"]}


def results_of(run):
    return json.loads(run.store.get_bytes(layout.EVALUATION))


def weights(run, *jobs):
    """What a recipe is to say of the networks behind some jobs."""
    made = stages.require(run.store, "train", "test") | stages.require(run.store, "route", "test")
    decays = {"router": run.config.router.ema_decay}
    assert run.config.training.ema_decay != decays["router"]
    return {
        job: {
            "digest": made[job]["digest"],
            "step": 12,
            "ema_decay": decays.get(job, run.config.training.ema_decay),
        }
        for job in jobs
    }


def test_evaluation_has_a_row_for_every_way_to_sample(evaluated):
    rows = results_of(evaluated)["rows"]
    assert [row["name"] for row in rows] == [
        "real",
        "monolith",
        "oracle",
        "full",
        "top-1",
        "top-2",
    ]
    assert [row["scores"]["num_samples"] for row in rows[1:]] == [90] * 5


def test_evaluation_counts_flops_in_the_order_of_the_experts_asked(evaluated):
    cost = {
        name: row["cost"] for name, row in by_name(results_of(evaluated)).items() if row["cost"]
    }
    assert cost["monolith"]["gflops_per_image"] == cost["oracle"]["gflops_per_image"]
    order = [cost[name]["gflops_per_image"] for name in ("oracle", "top-1", "top-2", "full")]
    assert order == sorted(set(order))
    asked = [cost[name]["experts_per_step"] for name in ("oracle", "top-1", "top-2", "full")]
    assert asked == [1, 1, 2, 3]
    # Every row that asks the router asks it as often.
    expert = cost["oracle"]["gflops_per_image"]
    router = cost["top-1"]["gflops_per_image"] - expert
    assert cost["full"]["gflops_per_image"] == pytest.approx(3 * expert + router)


def test_evaluation_shares_the_oracles_work_as_the_data_are(evaluated):
    oracle = by_name(results_of(evaluated))["oracle"]
    painted = [score["num_generated"] for score in oracle["clusters"]]
    assert sum(painted) == 90
    assert oracle["cost"]["usage"] == pytest.approx([num / 90 for num in painted])


def test_evaluation_keeps_the_recipe_beside_every_figure(evaluated):
    results = results_of(evaluated)
    rows, experts = by_name(results), ["expert-0", "expert-1", "expert-2"]
    measured_by = {
        "extractor": {"name": "classifier", "digest": results["extractor"]["digest"]},
        "reference": {"num_samples": 1797, "digest": results["reference"]["digest"]},
    }
    painted = {
        "weights": "ema",
        "solver": "euler",
        "steps": 2,
        "guidance": 1.0,
        "seed": 0,
        "num_samples": 90,
        **measured_by,
    }
    assert rows["real"]["recipe"] == {"row": "real", **measured_by}
    assert rows["top-1"]["recipe"] == {
        "row": "top-1",
        "gate": "learned",
        "checkpoints": weights(evaluated, *experts, "router"),
        **painted,
    }
    for name, jobs in (("monolith", ["monolith"]), ("oracle", experts)):
        assert rows[name]["recipe"] == {
            "row": name,
            "gate": None,
            "checkpoints": weights(evaluated, *jobs),
            **painted,
        }


def test_evaluation_keeps_the_recipe_beside_costs_and_calibration(evaluated):
    results = results_of(evaluated)
    recipes = {line["part"]: line["recipe"] for line in results["training"]}
    jobs = {
        "monolith": ["monolith"],
        "experts": ["expert-0", "expert-1", "expert-2"],
        "router": ["router"],
    }
    assert recipes == {
        part: {"seed": 0, "checkpoints": weights(evaluated, *names)} for part, names in jobs.items()
    }
    assert results["router"]["recipe"] == {
        "gate": "learned",
        "checkpoints": weights(evaluated, "router"),
        "seed": 0,
        "num_samples": 1797,
        "reference": {"num_samples": 1797, "digest": results["reference"]["digest"]},
    }


def test_evaluation_counts_the_routers_training(evaluated):
    training = {line["part"]: line for line in results_of(evaluated)["training"]}
    assert training["monolith"]["tflops"] == training["experts"]["tflops"]
    assert training["experts"]["networks"] == 3
    assert 0 < training["router"]["relative"] < 2


def test_evaluation_judges_the_gate_at_every_time(evaluated):
    router = results_of(evaluated)["router"]
    assert len(router["accuracy"]) == len(router["calibration_error"]) == 10
    assert sum(map(sum, router["confusion"])) == 10 * 1797


def test_evaluation_done_before_is_found(evaluated, monkeypatch):
    monkeypatch.setattr(compare, "paint", None)
    assert run_evaluate(evaluated.config, lambda *_: None) == results_of(evaluated)


@pytest.mark.parametrize("harm", ["end not reached", "results damaged", "results gone"])
def test_evaluation_cut_short_or_damaged_is_finished_from_its_rows(run, monkeypatch, harm):
    before, results = results_of(run), run.folder / layout.EVALUATION
    if harm == "end not reached":
        (run.folder / layout.stage_manifest("evaluate")).unlink()
    elif harm == "results damaged":
        results.write_bytes(results.read_bytes()[:-9])
    else:
        results.unlink()
    monkeypatch.setattr(compare, "paint", None)
    assert find_evaluation(run.config) is None
    assert run_evaluate(run.config, lambda *_: None) == before
    assert find_evaluation(run.config) == before
    assert write_report(run.config) == layout.REPORT


def test_evaluation_of_one_more_strategy_paints_that_row_alone(run):
    before = by_name(results_of(run))
    painted = set()
    more = run.with_(evaluation={"strategies": ("full", "top-1", "top-2", "ancestral")})
    assert find_evaluation(more) is None
    results = run_evaluate(more, lambda doing, *_: painted.add(doing))
    assert {doing for doing in painted if doing.startswith("painting")} == {"painting ancestral"}
    after = by_name(results)
    assert {name: after[name] for name in before} == before
    assert after["ancestral"]["cost"]["experts_per_step"] == 1


def test_evaluation_from_scratch_gives_the_same_figures(run):
    before = results_of(run)
    for key in run.store.list("evaluation"):
        (run.folder / key).unlink()
    after = run_evaluate(run.config, lambda *_: None)
    for old, new in zip(before["rows"], after["rows"], strict=True):
        assert new["scores"] == old["scores"]
        assert new["recipe"] == old["recipe"]


def test_evaluation_without_a_monolith_leaves_its_row_out(run):
    results = run_evaluate(run.with_(evaluation={"monolith": False}), lambda *_: None)
    assert "monolith" not in by_name(results)
    assert [line["part"] for line in results["training"]] == ["experts", "router"]


def test_evaluation_by_a_gate_without_a_network_needs_no_router(run):
    (run.folder / layout.stage_manifest("route")).unlink()
    results = run_evaluate(run.with_(sampling={"gate": "prior"}), lambda *_: None)
    cost = {name: row["cost"] for name, row in by_name(results).items()}
    assert cost["top-1"]["gflops_per_image"] == cost["oracle"]["gflops_per_image"]
    assert "router" not in by_name(results)["top-1"]["recipe"]["checkpoints"]


@pytest.mark.parametrize(
    ("lost", "painted"), [("top-1", {"painting top-1"}), ("real", set()), ("expert-2", set())]
)
def test_evaluation_that_lost_a_picture_paints_it_again(run, lost, painted):
    before = by_name(results_of(run))
    grid = before[lost]["grid"] if lost in before else evaluation_picture(lost)
    (run.folder / grid).unlink()
    assert find_evaluation(run.config) is None
    with pytest.raises(StageMissing, match="run `atoll evaluate` first"):
        write_report(run.config)
    done = set()
    after = by_name(run_evaluate(run.config, lambda doing, *_: done.add(doing)))
    assert {doing for doing in done if doing.startswith("painting")} == painted
    assert {name: row["scores"] for name, row in after.items()} == {
        name: row["scores"] for name, row in before.items()
    }
    assert write_report(run.config) == layout.REPORT


def test_evaluation_found_by_an_older_version_is_made_anew(run, monkeypatch):
    monkeypatch.setattr(stage, "VERSION", stage.VERSION + 1)
    assert find_evaluation(run.config) is None


def test_evaluation_of_a_monolith_that_was_not_trained_says_so(run):
    manifest = run.folder / layout.stage_manifest("train")
    tree = json.loads(manifest.read_text())
    del tree["result"]["monolith"]
    manifest.write_text(json.dumps(tree))
    for ask in (find_evaluation, write_report, lambda config: run_evaluate(config, print)):
        with pytest.raises(StageMissing, match=r"needs monolith after step 12.*`atoll train`"):
            ask(run.config)


@pytest.mark.parametrize(("section", "stage"), [("training", "train"), ("router", "route")])
def test_evaluation_of_networks_trained_for_fewer_steps_says_so(run, section, stage):
    more = run.with_(**{section: {"steps": 13}})
    with pytest.raises(StageMissing, match=rf"after step 13.*run `atoll {stage}` first"):
        run_evaluate(more, lambda *_: None)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("partition", "num_fine", 12), ("training", "learning_rate", 0.125), ("router", "width", 8)],
)
def test_evaluation_of_networks_made_with_other_settings_is_refused_by_key(
    run, section, key, value
):
    other = run.with_(**{section: {key: value}})
    for ask in (find_evaluation, write_report):
        with pytest.raises(BadInput, match=rf"made with {section}\.{key} = .*says {value}"):
            ask(other)


def test_evaluation_of_a_network_that_diverged_names_its_row(run, monkeypatch):
    def diverged(network, device):
        return alone(lambda x_t, t, cond: x_t * float("nan"), device)

    monkeypatch.setattr(stage, "alone", diverged)
    with pytest.raises(BadInput, match="what monolith paints is not finite"):
        run_evaluate(run.with_(sampling={"steps": 3}), lambda *_: None)


def test_evaluation_by_a_gate_that_diverged_says_so(run, monkeypatch):
    def diverged(x_t, t, cond):
        return torch.full((len(x_t), 3), float("nan"))

    def loaded(*arguments):
        return replace(load_ensemble(*arguments), gate=diverged)

    monkeypatch.setattr(stage, "load_ensemble", loaded)
    with pytest.raises(BadInput, match="of the gate are not finite"):
        run_evaluate(run.with_(sampling={"steps": 3}), lambda *_: None)


@pytest.mark.parametrize("missing", ["train", "route"])
def test_evaluation_before_its_stages_says_which_comes_first(run, missing):
    (run.folder / layout.stage_manifest(missing)).unlink()
    with pytest.raises(StageMissing, match=f"`atoll evaluate` builds on .*; run `atoll {missing}`"):
        run_evaluate(run.config, lambda *_: None)


def test_evaluation_of_too_few_real_images_is_refused_before_any_work(run, monkeypatch):
    manifest = run.folder / layout.stage_manifest("partition")
    manifest.write_text(manifest.read_text().replace('"num_samples": 1797', '"num_samples": 11'))
    monkeypatch.setattr(stage, "open_extractor", None)
    with pytest.raises(BadInput, match=r"11 images.* at least 12; give more under data\.path"):
        run_evaluate(run.with_(sampling={"steps": 3}), lambda *_: None)
