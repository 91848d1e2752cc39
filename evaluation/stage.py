"""The evaluation stage: from trained networks to a table, and all the report needs beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from atoll import layout, stages
from atoll.blobs import BlobStore, open_store
from atoll.command import Progress
from atoll.config import Config, digest_of
from atoll.errors import BlobDamaged, BlobMissing
from atoll.types import CheckpointRef
from evaluation.compare import Comparison, Contender
from evaluation.costs import prices_of, training_costs
from evaluation.extractor import open_extractor
from evaluation.grids import grid_png
from evaluation.painter import draw, wanted
from evaluation.real import RealImages, read_real
from evaluation.results import MONOLITH, ORACLE, Results
from evaluation.yardstick import Yardstick
from experts.devices import device_of
from experts.load import Loaded, load_expert
from partition.pixels import to_unit
from router.calibration import Calibration, Known, calibrate
from router.ensemble import alone
from router.load import LoadedEnsemble, load_ensemble
from router.sampling import Sampler, Wanted

STAGE = "evaluate"
_CALIBRATED = 2000  # real images the gate is asked about, at ten times each
_PAINTED_BY_EACH, _COLUMNS = 16, 4


def find_evaluation(config: Config) -> dict[str, Any] | None:
    """What this configuration found earlier, see :class:`evaluation.results.Results`; or None.

    Raises:
        StageMissing: there is nothing to evaluate yet; says which command comes first.
    """
    store = open_store(config.run.uri)
    inputs, found = _inputs(config, store), stages.find(store, STAGE)
    if found is None:
        return None
    try:
        results: dict[str, Any] = json.loads(store.get_bytes(found["results"], found["digest"]))
    except (BlobMissing, BlobDamaged):
        return None  # its rows are kept, so making it again costs little
    return results if results["inputs"] == inputs else None


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
        BadInput: there are too few real images, or the extractor cannot be used.
    """
    found = find_evaluation(config)
    if found is not None:
        return found
    store, device = open_store(config.run.uri), device_of(config.island)
    cache = layout.state_folder(config.run.uri) / "cache"
    ensemble = load_ensemble(store, config, cache, device, STAGE)
    monolith = _monolith(config, store, cache, device)
    progress("reading the real images", 0, None)
    real = read_real(config, store, ensemble.partition, ensemble.conditioning, cache)
    extractor = open_extractor(config, store, real)
    comparison = Comparison(config, store, Yardstick(extractor, real), progress)
    rows = [comparison.real()]
    rows += [comparison.row(each) for each in _contenders(config, ensemble, monolith)]
    results = Results(
        inputs=_inputs(config, store),
        rows=tuple(rows),
        training=training_costs(config, ensemble, monolith),
        router=_as_json(_calibration(config, ensemble, real, progress)),
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
    stages.finish(
        store, STAGE, {"inputs": results.inputs}, {"results": blob.key, "digest": blob.digest}
    )
    tree: dict[str, Any] = json.loads(text)
    return tree


def _inputs(config: Config, store: BlobStore) -> str:
    trained = stages.require(store, "train", STAGE)
    routed = stages.require(store, "route", STAGE) if config.sampling.gate == "learned" else {}
    weights = {job: ref["digest"] for job, ref in (trained | routed).items()}
    return digest_of([weights, config.digest("sampling", "evaluation"), config.run.seed])


def _monolith(config: Config, store: BlobStore, cache: Path, device: torch.device) -> Loaded | None:
    trained = stages.require(store, "train", STAGE)
    if not config.evaluation.monolith or layout.MONOLITH_JOB not in trained:
        return None
    return load_expert(store, CheckpointRef(**trained[layout.MONOLITH_JOB]), cache, device)


def _contenders(
    config: Config, ensemble: LoadedEnsemble, monolith: Loaded | None
) -> Iterator[Contender]:
    prices = prices_of(ensemble)
    if monolith is not None:
        weights = {layout.MONOLITH_JOB: _named(monolith.checkpoint.ref)}
        # No gate stands before a single network.
        ungated = replace(prices, gate=0)
        yield Contender(MONOLITH, _sampler(ensemble, monolith.model), weights, ungated)
    every = {job: _named(ref) for job, ref in ensemble.checkpoints.items()}
    experts = {job: name for job, name in every.items() if job != layout.ROUTER_JOB}
    yield Contender(ORACLE, ensemble.sampler("top-1"), experts, prices, knows_cluster=True)
    for strategy in config.evaluation.strategies:
        yield Contender(strategy, ensemble.sampler(strategy), every, prices)


def _named(ref: CheckpointRef) -> dict[str, Any]:
    return {"digest": ref.digest, "step": ref.step}


def _sampler(ensemble: LoadedEnsemble, network: torch.nn.Module) -> Sampler:
    single = alone(network, ensemble.device)
    return Sampler(single, ensemble.conditioning, ensemble.shape, ensemble.device)


def _calibration(
    config: Config, ensemble: LoadedEnsemble, real: RealImages, progress: Progress
) -> Calibration:
    num, size = min(len(real), _CALIBRATED), config.sampling.batch_size
    progress("judging the gate", 0, None)
    batches = (
        Known(
            x0=torch.from_numpy(to_unit(real.images[part])).to(ensemble.device),
            cond=None if real.cond is None else real.cond[part].to(ensemble.device),
            cluster=torch.from_numpy(real.clusters[part]),
        )
        for part in (slice(start, min(start + size, num)) for start in range(0, num, size))
    )
    return calibrate(ensemble.gate, batches, seed=config.run.seed)


def _as_json(calibration: Calibration) -> dict[str, Any]:
    return {name: array.tolist() for name, array in asdict(calibration).items()}


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
