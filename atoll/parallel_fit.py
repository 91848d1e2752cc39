"""Whether a network and its batches can be shared out as a layout asks."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.errors import ConfigError
from atoll.expert_section import ExpertSection
from atoll.parallel_section import Layout, ParallelSection
from atoll.sizes import NetworkSizes, Sizes
from atoll.training_section import TrainingSection

KEY = "island.parallel"


def refuse_layout(
    parallel: ParallelSection, expert: ExpertSection, training: TrainingSection
) -> None:
    """Refuse a layout in which such experts cannot be trained so.

    Raises:
        ConfigError: names the keys, and what would fit.
    """
    refuse_sizes(parallel, expert.sizes)
    refuse_compiled(parallel, compiled=training.compile)
    refuse_skipping(parallel, training.on_spike)
    refuse_aligned(parallel, expert.sizes, training)
    refuse_routed(parallel, expert.sizes, training)
    refuse_pipeline(parallel, training.accumulation, compiles=training.compile)


def refuse_buckets(parallel: ParallelSection, buckets: Sequence[tuple[int, int]] | None) -> None:
    """Refuse to share out each image, or what passes between processes, where sizes differ.

    Args:
        parallel: the layout.
        buckets: heights and widths of images; None where all are of one size.

    Raises:
        ConfigError: names the keys and the mend.
    """
    for key in ("pipeline", "sequence"):
        if buckets and len(buckets) > 1 and (parts := getattr(parallel, key)) > 1:
            raise ConfigError(
                f"{KEY}.{key} = {parts} shares out images of one size alone, and data.buckets "
                f"names {len(buckets)}; set it to 1, or set data.size in place of data.buckets"
            )


def refuse_sizes(parallel: ParallelSection, sizes: NetworkSizes) -> None:
    """Refuse a layout that does not divide a network.

    Raises:
        ConfigError: names the keys, and what would fit.
    """
    video = isinstance(sizes, Sizes) and sizes.frames > 1  # which shares no heads along sequence
    stages = parallel.pipeline * parallel.stages
    parts = parallel.tensor * (1 if video else parallel.sequence)
    if stages > sizes.depth:
        of = f" x stages = {parallel.stages}" if parallel.stages > 1 else ""
        raise ConfigError(
            f"{KEY}.pipeline = {parallel.pipeline}{of} is more than the expert has blocks, "
            f"{sizes.depth}; lower it, or raise expert.depth"
        )
    if sizes.heads % parts:
        keys = " x ".join(key for key in ("sequence", "tensor") if getattr(parallel, key) > 1)
        raise ConfigError(
            f"{KEY}.{keys} = {parts} does not divide the expert's {sizes.heads} heads; lower it, "
            "or change expert.heads"
        )


def refuse_compiled(parallel: ParallelSection, *, compiled: bool) -> None:
    """Refuse to compile a network into which DeepSpeed steps between all layers.

    Raises:
        ConfigError: names the keys.
    """
    if compiled and parallel.zero == 3:
        raise ConfigError(
            f'training.compile does not go with {KEY}.sharding = "zero-3", which gathers weights '
            'between all layers; set it to false, or sharding to "zero-2" or "fsdp"'
        )


def refuse_aligned(
    parallel: ParallelSection, sizes: NetworkSizes, training: TrainingSection
) -> None:
    """Refuse to look into a network whose blocks or tokens lie in several processes.

    Raises:
        ConfigError: names the keys and the mend.
    """
    align, depth = training.align, training.aligned_after(sizes.depth)
    if not align:
        return
    for key in ("pipeline", "sequence"):
        if (parts := getattr(parallel, key)) > 1:
            raise ConfigError(
                f"training.align = {align:g} does not go together with {KEY}.{key} = {parts}: no "
                "process has all tokens between two blocks; set one of the two back"
            )
    if isinstance(sizes, Sizes) and sizes.frames > 1:
        raise ConfigError(
            f"training.align = {align:g} is for images; set it to 0, or expert.frames to 1"
        )
    if sizes.depth == 1:
        raise ConfigError(
            f"training.align = {align:g} looks between two blocks, and the expert has one; set it "
            "to 0, or expert.depth to 2 at least"
        )
    if depth >= sizes.depth:
        raise ConfigError(
            f"training.align_depth = {depth} leaves no block after it, and the expert has "
            f"{sizes.depth}; lower it"
        )


def refuse_routed(
    parallel: ParallelSection, sizes: NetworkSizes, training: TrainingSection
) -> None:
    """Refuse to lead tokens around blocks that have not all of an image's tokens in one process.

    Raises:
        ConfigError: names the keys and the mend.
    """
    routing = training.routing
    if routing is None:
        return
    told = f"training.route_tokens = {routing.rate:g}"
    for key in ("pipeline", "sequence"):
        if (parts := getattr(parallel, key)) > 1:
            raise ConfigError(
                f"{told} does not go together with {KEY}.{key} = {parts}: no process has all "
                "tokens before and behind the blocks; set one of the two back"
            )
    if not isinstance(sizes, Sizes) or sizes.frames > 1:
        other = "an MMDiT" if not isinstance(sizes, Sizes) else "a network for videos"
        raise ConfigError(f"{told} is for a DiT on images, and [expert] is {other}; set it to 0")
    if training.align:
        raise ConfigError(
            f"{told} does not go together with training.align = {training.align:g}, which reads "
            "all tokens between two blocks; set one of the two to 0"
        )
    if routing.after + routing.before >= sizes.depth:
        raise ConfigError(
            f"training.route_after = {routing.after} and route_before = {routing.before} leave no "
            f"block to pass by of the expert's {sizes.depth}; lower them"
        )


def refuse_skipping(parallel: ParallelSection, on_spike: str) -> None:
    """Refuse to skip steps that DeepSpeed has made by the time it tells what they came to.

    Raises:
        ConfigError: names the keys.
    """
    pipelined = parallel.pipeline > 1 and parallel.schedule == "deepspeed"
    if on_spike == "skip" and (parallel.zero or pipelined):
        key = "schedule" if pipelined else "sharding"
        raise ConfigError(
            f'training.on_spike = "skip" does not go with {KEY}.{key} = '
            f'"{getattr(parallel, key)}", which tells too late what a step came to; set it to '
            '"rollback"'
        )


def refuse_pipeline(parallel: ParallelSection, accumulation: int, *, compiles: bool) -> None:
    """Refuse a pipeline that its schedule, or torch, cannot drive.

    Args:
        parallel: the layout.
        accumulation: micro-batches of a step.
        compiles: whether the network is compiled.

    Raises:
        ConfigError: names the keys and the mend.
    """
    num, schedule = parallel.pipeline, parallel.schedule
    if num == 1 or schedule == "deepspeed":
        return
    for key in ("sequence", "tensor"):
        if (parts := getattr(parallel, key)) > 1:
            raise ConfigError(
                f"{KEY}.{key} = {parts} does not go together with pipeline = {num}; set one of the "
                "two to 1"
            )
    if schedule == "interleaved" and parallel.stages == 1:
        raise ConfigError(
            f'{KEY}.schedule = "interleaved" wants several stages of a process; set {KEY}.stages '
            'to 2 or more, or schedule to "1f1b"'
        )
    if schedule == "zero-bubble" and (parallel.shard != 1 or compiles):
        other = "training.compile" if compiles else f"{KEY}.shard = {parallel.shard}"
        raise ConfigError(
            f'{KEY}.schedule = "zero-bubble" takes the backward pass apart, which {other} does not '
            'allow; set schedule to "1f1b"'
        )
    if schedule == "1f1b" and accumulation < num:
        raise ConfigError(
            f"{KEY}.pipeline = {num} wants as many micro-batches at least, and "
            f"training.accumulation = {accumulation}; raise it"
        )
    if schedule != "1f1b" and accumulation % num:
        raise ConfigError(
            f'{KEY}.schedule = "{schedule}" wants training.accumulation to be a multiple of '
            f"pipeline = {num}, not {accumulation}; change it"
        )


def refuse_tokens(parallel: ParallelSection, num_tokens: int, frames: int = 1) -> None:
    """Refuse to cut an image's tokens unevenly, or a video's frames, or the tokens of one.

    Raises:
        ConfigError: names the key, and what would fit.
    """
    if frames > 1 and (frames % parallel.sequence or num_tokens // frames % parallel.sequence):
        raise ConfigError(
            f"{KEY}.sequence = {parallel.sequence} does not divide both expert.frames = {frames} "
            f"and the {num_tokens // frames} tokens of a frame; lower it"
        )
    if num_tokens % parallel.sequence:
        raise ConfigError(
            f"{KEY}.sequence = {parallel.sequence} does not divide the {num_tokens} tokens of an "
            "image; lower it, or change expert.patch"
        )


def refuse_rows(
    job: str, batch_size: int, layout: Layout, parallel: ParallelSection, accumulation: int
) -> None:
    """Refuse a batch that leaves processes without samples, or a pipeline with uneven pieces.

    Args:
        job: its name.
        batch_size: rows of one of its steps.
        layout: of the island.
        parallel: what it is the layout of.
        accumulation: micro-batches of a step.

    Raises:
        ConfigError: names the keys, and what would fit.
    """
    if batch_size < layout.rows:
        raise ConfigError(
            f"{job} has {batch_size} samples in a step, too few for {layout.rows} processes that "
            "share them; lower island.processes or island.nodes, or raise the batch size"
        )
    pieces = layout.rows * accumulation
    if layout.shard > 1 and batch_size < pieces:
        raise ConfigError(
            f"{job} has {batch_size} samples in a step, too few for training.accumulation = "
            f"{accumulation} micro-batches on each of {layout.rows} processes, which gather "
            "weights for them together; lower it, or raise the batch size"
        )
    if parallel.pipeline > 1 and batch_size % pieces:
        raise ConfigError(
            f"{job} has {batch_size} samples in a step, and a pipeline wants equal micro-batches: "
            f"training.accumulation = {accumulation}"
            + (f" on each of {layout.rows} parts" if layout.rows > 1 else "")
            + f" does not divide them; change it, or training.batch_size, so that every job has a "
            f"multiple of {pieces}"
        )


def refuse_groups(job: str, batch_size: int, layout: Layout, immiscible: int) -> None:
    """Refuse a batch of which processes share a group whose noises are assigned together.

    Args:
        job: its name.
        batch_size: rows of one of its steps.
        layout: of the island.
        immiscible: rows of a group, one after the other from the first; 0 for none.

    Raises:
        ConfigError: names the keys, and what would fit.
    """
    begins = [batch_size * number // layout.rows for number in range(layout.rows)]
    if immiscible and any(row % immiscible for row in begins):
        raise ConfigError(
            f"training.immiscible = {immiscible} assigns noises among so many rows, and of the "
            f"{batch_size} rows of {job} in a step {layout.rows} processes have parts that cut "
            "such groups; change it, or training.batch_size, so that every job has a multiple of "
            f"{immiscible * layout.rows}"
        )
