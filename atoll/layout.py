"""Where everything lies below a run's URI. No other module builds these names."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from atoll.blobs import local_path
from atoll.image_size import name_of

CONFIG = "config.json"  # the resolved configuration
ORCHESTRATOR = "orchestrator.json"  # where the run's orchestrator is called
MONTAGE = "partition/montage.png"
REPORT = "report.html"
MODEL_NAMES = "models/named"  # folder of what names of encoders stand for
EVALUATION = "evaluation/results.json"
HISTORY = "history.json"  # in a checkpoint's folder: its job's curve


def run_name(place: str) -> str:
    """Where orchestrators that share a database find the run's name; a copy elsewhere has another.

    Args:
        place: sha256 (hex) of what tells the store from its copies.
    """
    return f"names/{place[:16]}"


def shard_folder(cluster: int) -> str:
    """Folder of the tars of one cluster."""
    return f"partition/shards/cluster-{cluster:03d}"


def shard(cluster: int, number: int, digest: str, bucket: tuple[int, int] | None = None) -> str:
    """One tar of a cluster; named by content, so an interrupted run's tars never stand in the way.

    Args:
        cluster: which, from 0.
        number: of the tar within its cluster, or its bucket there, from 0.
        digest: sha256 (hex) of its bytes.
        bucket: height and width of its images, where those of a run differ.
    """
    folder = shard_folder(cluster)
    if bucket is not None:
        folder = f"{folder}/{name_of(*bucket)}"
    return f"{folder}/shard-{number:06d}-{digest[:12]}.tar"


def features(shard: str, digest: str) -> str:
    """Features of the samples of a tar; named by its digest and by their own (sha256, hex)."""
    return f"partition/features/{shard[:12]}-{digest[:12]}.npy"


def centroids(digest: str) -> str:
    """The centroids of a partition; named by content like its shards."""
    return f"partition/centroids-{digest[:12]}.npz"


def model_manifest(digest: str) -> str:
    """What an encoder's files are, each with its digest.

    Args:
        digest: of the encoder, see :mod:`partition.model_files`.
    """
    return f"models/{digest[:16]}.json"


def model_file(digest: str, name: str) -> str:
    """One of an encoder's files."""
    return f"models/{digest[:16]}/{name}"


def model_name(name: str) -> str:
    """Which encoder a name of the configuration stood for."""
    return f"{MODEL_NAMES}/{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


def encoded_shard(series: str, shard: str, digest: str) -> str:
    """What was made of the samples of one tar; named by content, as that is.

    Args:
        series: sha256 (hex) of what is made of them and how.
        shard: sha256 (hex) of the tar.
        digest: sha256 (hex) of the bytes that were made of it.
    """
    return f"partition/encoded/{series[:16]}/{shard[:16]}-{digest[:12]}.tar"


def encoded_record(series: str, shard: str) -> str:
    """Written after that, and says that it is whole."""
    return f"partition/encoded/{series[:16]}/{shard[:16]}.json"


def duplicates(digest: str) -> str:
    """The list of samples that are nearly the same as others; named by content."""
    return f"partition/duplicates-{digest[:12]}.jsonl"


def left_out(digest: str) -> str:
    """The list of what was left out of the data set; named by content."""
    return f"partition/skipped-{digest[:12]}.jsonl"


def expert_job(index: int) -> str:
    """Name of the job that trains an expert."""
    return f"expert-{index}"


def extractor_weights(digest: str) -> str:
    """Weights of a feature extractor trained on the data with this digest."""
    return f"evaluation/extractor-{digest[:16]}.safetensors"


def evaluation_row(digest: str) -> str:
    """One measured row of the comparison; named by its recipe."""
    return f"evaluation/rows/{digest[:16]}.json"


def evaluation_picture(name: str) -> str:
    """A grid of images shown in the report."""
    return f"evaluation/pictures/{name}.png"


ROUTER_JOB = "router"
MONOLITH_JOB = "monolith"


def job_folder(job: str) -> str:
    """Folder of all checkpoints of a job."""
    return f"checkpoints/{job}"


def checkpoint_folder(job: str, epoch: int, step: int, restarts: int = 0) -> str:
    """Folder of one checkpoint, where nobody else writes.

    The epoch in it keeps a zombie's files apart. So does, within a lease, how often its trainer was
    started anew: the one before may have left half of the same checkpoint.
    """
    again = f".{restarts}" if restarts else ""
    return f"{job_folder(job)}/epoch-{epoch:04d}/step-{step:08d}{again}"


def is_checkpoint_folder(key: str, job: str, epoch: int, step: int) -> bool:
    """Whether a checkpoint belongs there, however often its trainer was started anew."""
    folder = re.escape(checkpoint_folder(job, epoch, step))
    return re.fullmatch(rf"{folder}(\.[1-9]\d{{0,5}})?", key) is not None


def epoch_of(key: str) -> int:
    """The epoch a checkpoint's file was written under; 0 for any other file."""
    found = re.search(r"/epoch-(\d+)/", key)
    return int(found[1]) if found else 0


def checkpoint_of(key: str) -> str:
    """The folder of the checkpoint that a file belongs to; "" for any other file."""
    found = re.match(r"checkpoints/[^/]+/epoch-\d+/step-\d+(\.\d+)?(?=/)", key)
    return found[0] if found else ""


def average_folder(job: str, length: float, digest: str) -> str:
    """Folder of a job's checkpoint with an average of a length; named by what it was made of."""
    return f"averages/{job}/length-{length:g}/{digest[:12]}"


def refined_schedule(job: str) -> str:
    """The curve of an earlier run from which a job's learning rate follows."""
    return f"schedules/{job}.json"


def trace(job: str, step: int, wish: str) -> str:
    """Folder of a trace of a job's steps up to one; named by its wish like no other."""
    return f"profiles/{job}/step-{step:08d}-{wish[:8]}"


def is_trace(key: str, job: str) -> bool:
    """Whether a key is the folder of a trace of a job."""
    return re.fullmatch(rf"profiles/{re.escape(job)}/step-\d+-\w{{1,8}}", key) is not None


def stage_manifest(stage: str) -> str:
    """What a finished stage produced, by reference."""
    return f"stages/{stage}.json"


def state_folder(run_uri: str) -> Path:
    """Folder on this machine for what is not part of the run's results: database, logs."""
    path = local_path(run_uri)
    if path is not None:
        return path / "local"
    return Path(".atoll") / hashlib.sha256(run_uri.encode()).hexdigest()[:16]


def cache_folder(run_uri: str) -> Path:
    """Folder on this machine for copies of shards; runs that lie elsewhere share one."""
    path = local_path(run_uri)
    return Path(".atoll") / "cache" if path is None else state_folder(run_uri) / "cache"
