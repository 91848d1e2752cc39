"""The engine for an island's layout."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from atoll.parallel_fit import refuse_rows
from atoll.parallel_section import ParallelSection
from atoll.training_section import TrainingSection
from experts.deepspeed.pipeline import DeepSpeedPipeline
from experts.deepspeed.zero import ZeroEngine
from experts.engine import Engine
from experts.parallel.mesh import Mesh
from experts.pipeline_engine import PipelineEngine
from experts.schedules import Rate, rate_of, stored_norms
from experts.task import Task
from experts.torch_engine import TorchEngine
from experts.workplace import Workplace


def engine_for(task: Task, at: Workplace) -> Engine:
    """What makes the steps of a task at a place.

    Raises:
        ConfigError: the island's processes cannot share its batches.
        BlobMissing: the curve that its schedule is made of is gone.
    """
    job, training = at.assignment.spec.name, task.training
    refuse_rows(
        job, training.batch_size, at.mesh.layout, at.parallel, accumulation=training.accumulation
    )
    norms = stored_norms(at.store, job) if training.schedule == "refined" else ()
    rate = rate_of(training, norms)
    network = task.build().to(at.device)
    return engine_of(network, task.loss, training, at.mesh, at.parallel, rate=rate)


def engine_of(
    network: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    training: TrainingSection,
    mesh: Mesh,
    parallel: ParallelSection,
    *,
    rate: Rate | None = None,
) -> Engine:
    """What trains a network on the processes of a mesh.

    Args:
        network: whole, the same on every process, on the device where it shall be trained.
        loss: of each row, from output and target.
        training: how; ``batch_size`` counts the rows of all processes together.
        mesh: where this process stands.
        parallel: what the mesh is the layout of.
        rate: learning rate of each step; None for that of ``training`` alone.

    Raises:
        ConfigError: DeepSpeed is asked for, and is not installed.
    """
    recomputes = parallel.recompute
    if parallel.schedule == "deepspeed" and mesh.size("pipeline") > 1:
        return DeepSpeedPipeline(
            network, loss, training, mesh, parallel.zero, rate=rate, recomputes=recomputes
        )
    if parallel.zero and mesh.size("shard") > 1:
        return ZeroEngine(
            network, loss, training, mesh, parallel.zero, rate=rate, recomputes=recomputes
        )
    if mesh.size("pipeline") > 1:
        return PipelineEngine(network, loss, training, mesh, parallel, rate=rate)
    return TorchEngine(network, loss, training, mesh, rate=rate, recomputes=recomputes)
