"""The evaluation stage: from trained networks to a table, and all the report needs beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from atoll import layout, stages
from atoll.blobs import BlobStore, open_store
from atoll.command import Progress
from atoll.config import Config
from atoll.digests import digest_of
from atoll.errors import BlobDamaged, BlobMissing, StageMissing
from atoll.types import CheckpointRef
from evaluation.compare import Comparison, Contender
from evaluation.costs import prices_of, training_costs
from evaluation.extractor import open_extractor
from evaluation.gate import judged
from evaluation.grids import grid_png
from evaluation.painter import draw, wanted
from evaluation.real import RealImages, read_real
from evaluation.results import MONOLITH, ORACLE, VERSION, Results
from evaluation.trained import trained, weights_of
from evaluation.yardstick import Yardstick
from experts.devices import device_of
from experts.flow import VelocityField
from experts.load import Loaded, load_expert
from router.ensemble import alone
from router.load import LoadedEnsemble, load_ensemble
from router.sampling import Sampler, Wanted

STAGE = "evaluate"
_SECTIONS = ("sampling", "evaluation")
_PAINTED_BY_EACH, _COLUMNS = 16, 4


def find_evaluation(config: Config, needed_by: str = STAGE) -> dict[str, Any] | None:
    """What this configuration found earlier, see :class:`evaluation.results.Results`.

    Args:
        config: of the run.
        needed_by: command to name where a stage is missing.

    Returns:
        The results as JSON; None if there are none, or a picture of theirs is gone.

    Raises:
        StageMissing: there is nothing to evaluate yet; says which command comes first.
        BadInput: the run was made with other settings; names the key.
    """
    store = open_store(config.run.uri)
    inputs, found = _inputs(config, trained(config, needed_by)), stages.find(store, STAGE)
    if found is None:
        return None
    try:
        results: dict[str, Any] = json.loads(store.get_bytes(found["results"], found["digest"]))
    except (BlobMissing, BlobDamaged):
        return None  # its rows are kept, so making it again costs little
    if results["inputs"] != inputs:
        return None
    return results if all(map(store.exists, pictures_of(results))) else None


def require_evaluation(config: Config, needed_by: str) -> dict[str, Any]:
    """What this very configuration found, see :func:`find_evaluation`.

    Raises:
        StageMissing: it has found nothing yet, or what it found is not whole any more.
        BadInput: the run was made with other settings; names the key.
    """
    found = find_evaluation(config, needed_by)
    if found is None:
        made = stages.find(open_store(config.run.uri), STAGE)
        told = made and stages.difference(made["settings"], _settings(config))
        if told:
            raise StageMissing(
                f"this run was last evaluated with {told}; run `atoll evaluate` with these "
                "settings first, or set the key back"
            )
        raise StageMissing(
            f"`atoll {needed_by}` builds on what `atoll evaluate` finds with the same settings, "
            "and this run does not hold that, or not all of it; run `atoll evaluate` first"
        )
    return found


def pictures_of(results: dict[str, Any]) -> list[str]:
    """Keys of all pictures that results, as JSON, refer to."""
    return [*(row["grid"] for row in results["rows"]), *results["expert_grids"]]


def run_evaluate(config: Config, progress: Progress) -> dict[str, Any]:
    """Paint, measure and record every row; done once for the same weights and settings.

    Other settings may be evaluated in the same run: rows they share are found, not painted anew.

    Args:
        config: of the run.
        progress: called as a row is painted.

    Returns:
        See :class:`evaluation.results.Results`, as JSON.

    Raises:
        StageMissing: there is nothing to evaluate yet; says which command comes first.
        BadInput: there are too few real images, the extractor cannot be used, a network paints
            no images, or the run was made with other settings.
    """
    found = find_evaluation(config)
    if found is not None:
        return found
    store, device = open_store(config.run.uri), device_of(config.island)
    cache = layout.state_folder(config.run.uri) / "cache"
    refs = trained(config, STAGE)
    weights = weights_of(store, refs)
    ensemble = load_ensemble(store, config, cache, device, STAGE)
    monolith: Loaded | None = None
    if layout.MONOLITH_JOB in refs:
        monolith = load_expert(store, refs[layout.MONOLITH_JOB], cache, device)
    progress("reading the real images", 0, None)
    real = read_real(config, store, ensemble.partition, ensemble.conditioning)
    extractor = open_extractor(config, store, real)
    # First, because rows that follow a gate which has diverged may look like any others.
    router = judged(config, ensemble, real, weights, partial(progress, "judging the gate"))
    comparison = Comparison(config, store, Yardstick(extractor, real), progress)
    rows = [comparison.real()]
    rows += [comparison.row(each) for each in _contenders(config, ensemble, monolith, weights)]
    results = Results(
        inputs=_inputs(config, refs),
        rows=tuple(rows),
        training=training_costs(config, ensemble, monolith, weights),
        router=router,
        extractor={
            "name": extractor.name,
            "digest": extractor.digest,
            "accuracy": extractor.accuracy,
        },
        reference={
            "num_samples": len(real),
            "digest": real.digest,
            "partition": ensemble.partition.digest,
        },
        expert_grids=tuple(_expert_grids(config, store, ensemble, real)),
    )
    text = json.dumps(asdict(results), indent=1).encode()
    blob = store.publish(layout.EVALUATION, text)
    made = {"results": blob.key, "digest": blob.digest, "settings": _settings(config)}
    stages.finish(store, STAGE, {"inputs": results.inputs}, made)
    tree: dict[str, Any] = json.loads(text)
    return tree


def _inputs(config: Config, refs: dict[str, CheckpointRef]) -> str:
    weights = {job: ref.digest for job, ref in refs.items()}
    settings = config.digest(*_SECTIONS)
    return digest_of([VERSION, weights, settings, config.run.seed])


def _settings(config: Config) -> dict[str, Any]:
    """The same that the results follow from, to be told of."""
    return config.model_dump(mode="json", include=set(_SECTIONS))


def _contenders(
    config: Config,
    ensemble: LoadedEnsemble,
    monolith: Loaded | None,
    weights: dict[str, Any],
) -> Iterator[Contender]:
    prices = prices_of(ensemble)
    if monolith is not None:
        single = {layout.MONOLITH_JOB: weights[layout.MONOLITH_JOB]}
        # No gate stands before a single network.
        ungated = replace(prices, gate=0)
        yield Contender(MONOLITH, _sampler(ensemble, monolith.model), single, ungated)
    every = {job: weights[job] for job in ensemble.checkpoints}
    experts = {job: about for job, about in every.items() if job != layout.ROUTER_JOB}
    yield Contender(ORACLE, ensemble.sampler("top-1"), experts, prices, knows_cluster=True)
    for strategy in config.evaluation.strategies:
        yield Contender(strategy, ensemble.sampler(strategy), every, prices)


def _sampler(ensemble: LoadedEnsemble, expert: VelocityField) -> Sampler:
    single = alone(expert, ensemble.device)
    return Sampler(single, ensemble.conditioning, ensemble.shape, ensemble.device, ensemble.decode)


def _expert_grids(
    config: Config, store: BlobStore, ensemble: LoadedEnsemble, real: RealImages
) -> Iterator[str]:
    """Every expert paints the same noises under the same conditions; keys of the PNGs."""
    same = wanted(real, config.run.seed, _PAINTED_BY_EACH)
    same = Wanted(same.seeds, same.cond)
    for index, expert in enumerate(ensemble.experts):
        job = layout.expert_job(index)
        images = draw(_sampler(ensemble, expert), same, config.sampling, job)
        key = layout.evaluation_picture(job)
        yield store.publish(key, grid_png(images, _COLUMNS)).key
