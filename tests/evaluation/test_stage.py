import json

import pytest

from atoll import layout, stages
from atoll.errors import BadInput, StageMissing
from evaluation import compare, stage
from evaluation.report import write_report
from evaluation.stage import find_evaluation, run_evaluate
from router.ensemble import alone


def by_name(results):
    return {row["name"]: row for row in results["rows"]}


def results_of(run):
    return json.loads(run.store.get_bytes(layout.EVALUATION))


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
    rows = by_name(results_of(evaluated))
    trained = stages.require(evaluated.store, "train", "test")
    recipe = rows["top-1"]["recipe"]
    assert recipe["checkpoints"]["expert-1"] == {
        "digest": trained["expert-1"]["digest"],
        "step": 12,
    }
    assert "router" in recipe["checkpoints"]
    assert list(rows["monolith"]["recipe"]["checkpoints"]) == ["monolith"]
    assert {"solver", "steps", "guidance", "seed", "num_samples", "weights"} <= recipe.keys()
    assert recipe["extractor"] == rows["real"]["recipe"]["extractor"]
    assert recipe["reference"]["num_samples"] == 1797


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


def test_evaluation_of_a_network_that_diverged_names_its_row(run, monkeypatch):
    def diverged(network, device):
        return alone(lambda x_t, t, cond: x_t * float("nan"), device)

    monkeypatch.setattr(stage, "alone", diverged)
    with pytest.raises(BadInput, match="what monolith paints is not finite"):
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
