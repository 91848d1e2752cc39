"""Which jobs a configuration asks for, and what makes two jobs the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from atoll import layout
from atoll.blobs import absolute
from atoll.config import Config
from atoll.digests import digest_of
from atoll.types import JobSpec, Role

# These say when to stop and what to look at on the way; the weights do not depend on them.
_CADENCE = {
    "steps",
    "checkpoint_every_steps",
    "log_every_steps",
    "grid_every_steps",
    "held_out_every_steps",
    "board",
}
# A remedy may come in the middle: what was done before stays as it is.
_REMEDY = {"on_spike", "spike_factor"}
# Keys of [training] in whose place a router has those of [router].
ROUTERS_OWN = {"steps", "batch_size", "learning_rate", "ema_decay"}
# A router is taught by independent noise at all times alike, and averaged by its decay alone.
_OF_EXPERTS = {
    *("share", "ema_profile", "ema_lengths"),
    *("times", "times_mean", "times_std", "times_shift"),
    *("objective", "objectives", "noise_schedule", "min_snr"),
    *("immiscible", "perturb_condition"),
    *("route_tokens", "route_after", "route_before"),
    *("align", "align_depth"),
}


_DECAYING = "training.schedule lets the learning rate decay until then"
# Keys of :func:`shaping_settings` that count in some runs alone, and why in those.
WHY_IT_SHAPES = {"training.steps": _DECAYING, "router.steps": _DECAYING}


def job_specs(config: Config, partition_digest: str, roles: Iterable[Role]) -> list[JobSpec]:
    """The jobs of some roles, in the order in which they are to be granted.

    Args:
        config: the run's configuration.
        partition_digest: identifies what the partition stage made.
        roles: which kinds of job; ``EXPERT`` stands for all experts.
    """
    specs = []
    for role in roles:
        num_jobs = config.partition.num_experts if role is Role.EXPERT else 1
        specs += [
            JobSpec(
                name=_name(role, index),
                role=role,
                index=index,
                run_uri=absolute(config.run.uri),
                steps=config.router.steps if role is Role.ROUTER else config.training.steps,
                digest=job_digest(config, partition_digest, role, index),
            )
            for index in range(num_jobs)
        ]
    return specs


def job_digest(config: Config, partition_digest: str, role: Role, index: int) -> str:
    """Hash of all that shapes a job's weights; see :class:`atoll.types.JobSpec`."""
    return digest_of([shaping_settings(config, partition_digest, role), role, index])


def shaping_settings(config: Config, partition_digest: str, role: Role) -> dict[str, Any]:
    """All that shapes the weights of a role's jobs, by section and key.

    A learning rate that decays does so until the last step: then their number counts, too.
    """
    decays = config.training.schedule != "constant"
    own = _CADENCE - {"steps"} if decays else _CADENCE
    unused = _CADENCE | _OF_EXPERTS | ROUTERS_OWN if role is Role.ROUTER else own
    settings: dict[str, Any] = {
        "partition": {"digest": partition_digest},
        "run": {"seed": config.run.seed},
        "expert": config.expert.model_dump(mode="json"),
        **_told(config),
        "training": config.training.model_dump(mode="json", exclude=unused | _REMEDY),
        "data": {"flip": config.data.flip},
        "latents": config.latents.model_dump(mode="json", include=_seen(config)),
    }
    if role is Role.ROUTER:
        settings["router"] = config.router.model_dump(mode="json", exclude=own)
    return settings


def _seen(config: Config) -> set[str]:
    """Keys of [latents] that say what networks see; where they see pixels, one that says so."""
    return {"vae"} if config.latents.vae is None else {"vae", "kind", "scale", "shift", "precision"}


def _told(config: Config) -> dict[str, Any]:
    """How captions become conditions; how many are encoded at once changes nothing."""
    if config.expert.condition != "text":
        return {}
    return {"captions": config.captions.model_dump(mode="json", exclude={"batch_size", "workers"})}


def _name(role: Role, index: int) -> str:
    if role is Role.EXPERT:
        return layout.expert_job(index)
    return layout.ROUTER_JOB if role is Role.ROUTER else layout.MONOLITH_JOB
