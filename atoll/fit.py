"""Whether a configuration fits the data: known once the data are, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from atoll.batches import batch_size
from atoll.config import Config
from atoll.errors import ConfigError
from atoll.expert_file import refuse_other_network
from atoll.parallel_fit import refuse_groups, refuse_rows, refuse_tokens
from atoll.parallel_section import ParallelSection
from atoll.patches import refuse_patch
from atoll.types import JobSpec, Role


def refuse_patches(
    config: Config,
    height: int,
    width: int,
    layouts: Sequence[ParallelSection] | None = None,
    *,
    factor: int = 1,
    sides: str | None = None,
) -> None:
    """Refuse images that cannot be cut into the whole patches the networks take.

    Args:
        config: of the run.
        height: of what networks see, in pixels or in places of a latent.
        width: likewise.
        layouts: that share its tokens; None for the configuration's.
        factor: pixels along the side of a place.
        sides: what says how large images are, for errors; None for the configuration's key.

    Raises:
        ConfigError: names the key, and what would fit.
    """
    key = sides or size_key(config)
    networks = {"expert": config.expert.sizes, "router": config.router.sizes}
    for section, sizes in networks.items():
        refuse_patch(sizes.patch, height, width, f"{section}.patch", factor, sides=key)
    sizes, frames = config.expert.sizes, config.expert.frames
    if height % (frames * sizes.patch):
        raise ConfigError(
            f"expert.frames = {frames} does not cut images of {height} pixels of height into whole "
            f"frames of whole patches; give the number of frames that stand one below the other"
        )
    for parallel in config.island.parallel if layouts is None else layouts:
        refuse_tokens(parallel, (height // sizes.patch) * (width // sizes.patch), frames)


def size_key(config: Config) -> str:
    """What says how large images are, for errors."""
    return "each side in data.buckets" if config.data.buckets else "data.size"


def refuse_batches(config: Config, specs: Sequence[JobSpec], sizes: Sequence[int]) -> None:
    """Refuse a job whose batches the processes of an island cannot share, of whatever layout.

    Args:
        config: of the run.
        specs: of the jobs.
        sizes: samples of each cluster.

    Raises:
        ConfigError: names the job and the keys, and what would fit.
    """
    island, accumulation = config.island, config.training.accumulation
    for spec in specs:
        rows = batch_size(config, spec, sizes)
        whole = (ParallelSection(),)  # of a router, which is small, the batch alone is shared
        for parallel in whole if spec.role is Role.ROUTER else island.parallel:
            for nodes in range(island.fewest_nodes, island.nodes + 1):
                layout = parallel.over(nodes * island.processes)
                refuse_rows(spec.name, rows, layout, parallel, accumulation)
                if spec.role is not Role.ROUTER:
                    refuse_groups(spec.name, rows, layout, config.training.immiscible)


def refuse_init(config: Config, channels: int) -> None:
    """Refuse an ``expert.init`` that this machine sees to be of another network.

    Islands elsewhere may see what is not here.

    Raises:
        BadInput: it is not there, and islands are of this machine.
        ConfigError: says what differs.
    """
    init = config.expert.init
    if init and (Path(init).exists() or set(config.island.shares) == {"local"}):
        training = config.training
        asked = [*(training.objectives or (training.objective,))]
        if config.evaluation.monolith:
            asked.append(training.objective)  # whatever the experts learn to tell
        schedule = training.noise_schedule
        refuse_other_network(init, config.expert.sizes, channels, asked, schedule)


def refuse_condition(config: Config, *, has_labels: bool, has_captions: bool) -> None:
    """Refuse a condition that the data do not have.

    Raises:
        ConfigError: names the key and the mend.
    """
    kind = config.expert.condition
    there = {"class": has_labels, "text": has_captions, "none": True}
    if not there[kind]:
        what = {"class": "labels", "text": "captions"}[kind]
        fitting = " or ".join(f'"{each}"' for each, is_there in there.items() if is_there)
        raise ConfigError(
            f'expert.condition = "{kind}", but the data have no {what}; set it to {fitting}'
        )


def refuse_missing_captions(config: Config, num: int) -> None:
    """Refuse to learn from captions where some samples of a partition have none.

    Args:
        config: of the run.
        num: samples without a caption.

    Raises:
        ConfigError: names the key and the mend.
    """
    if config.expert.condition == "text" and num:
        raise ConfigError(
            f'expert.condition = "text", but {num:,} samples of this run\'s shards have no '
            "caption: it was partitioned for another condition; give it a run.uri of its own"
        )


def refuse_extractor(config: Config, num_classes: int) -> None:
    """Refuse to judge images by a classifier that has neither classes nor clusters to tell apart.

    Raises:
        ConfigError: names the keys and the mend.
    """
    if config.evaluation.extractor != "classifier":
        return
    if num_classes < 2 and config.partition.num_experts < 2:
        what = "data of a single class" if num_classes else "data without labels"
        raise ConfigError(
            f'evaluation.extractor = "classifier" cannot be trained on {what} in one cluster; set '
            'it to { transformers = "…" }, or raise partition.num_experts'
        )


def refuse_cache(size_bytes: int, needs: Mapping[str, int]) -> None:
    """Refuse a cache too small for the shards of a job: in their random order it reads them all.

    Args:
        size_bytes: most that the cache may hold; 0 for no limit.
        needs: bytes of the shards of each job, by its name.

    Raises:
        ConfigError: names the key, and the job that needs most.
    """
    name = max(needs, key=needs.__getitem__)
    if 0 < size_bytes < needs[name]:
        raise ConfigError(
            f"cache.size_gb = {size_bytes / 1e9:g} has no room for the shards of {name}, "
            f"{needs[name] / 1e9:.3f} GB; raise it, or set it to 0 for no limit"
        )


def refuse_held_out(num: int, sizes: Mapping[int, int]) -> None:
    """Refuse to hold so many samples of a cluster out that none are left to learn from.

    Args:
        num: of each cluster.
        sizes: samples of each cluster, by its number.

    Raises:
        ConfigError: names the key, and the smallest cluster.
    """
    smallest = min(sizes, key=sizes.__getitem__)
    if num >= sizes[smallest]:
        raise ConfigError(
            f"training.held_out = {num} leaves nothing of cluster {smallest}, which has "
            f"{sizes[smallest]} samples; lower it"
        )
