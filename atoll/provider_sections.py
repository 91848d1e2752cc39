"""The sections of the configuration file about the places where islands run, one for each."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from atoll.section import Section

# Their names in the file. They say what shells run, and with whose rights.
PROVIDER_SECTIONS = ("slurm", "ssh", "kubernetes", "skypilot")


class SlurmSection(Section):
    """Islands as batch jobs, where island.provider = "slurm"."""

    partition: str = Field("", description='of the cluster; "" = its default, here and below')
    account: str = Field("", description="who pays")
    qos: str = Field("", description="quality of service")
    constraint: str = Field("", description="features a node must have, e.g. a100")
    time_limit_min: int = Field(
        0,
        ge=0,
        description="minutes; a last checkpoint is made before they are over; 0 = none",
    )
    cpus: int = Field(0, ge=0, description="of a node; 0 = island.processes x island.threads")
    memory_gb: int = Field(0, ge=0, description="of a node; 0 = the cluster's default")
    requeue: bool = Field(True, description="let Slurm start a job again whose node it took")
    folder: str = Field(
        "", description='for logs and work, shared by all nodes; "" = in the run\'s state folder'
    )
    python: str = Field("", description='interpreter that has Atoll, on every node; "" = this one')
    setup: str = Field("", description="shell lines before the agent, e.g. module load cuda")
    options: tuple[str, ...] = Field((), description="more options of sbatch")


class SshSection(Section):
    """Islands on hosts one already has, where island.provider = "ssh"."""

    hosts: tuple[str, ...] = Field(
        (), description="as ssh knows them: user@host, or aliases; one node at a time on each"
    )
    config: str = Field("", description='configuration of ssh; "" = ~/.ssh/config')
    folder: str = Field(
        "~/.atoll/islands", description="for logs and work, on every host; ~ is the home there"
    )
    python: str = Field("python3", description="interpreter that has Atoll, on every host")
    setup: str = Field("", description="shell lines before the agent, e.g. module load cuda")
    options: tuple[str, ...] = Field((), description='more options of ssh, e.g. "-oPort=2222"')

    @field_validator("hosts")
    @classmethod
    def _hosts_are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not host or host.startswith("-") or any(c.isspace() or c < " " for c in host):
                raise ValueError(
                    f"{host!r} is no host: ssh would take it for something else; give user@host, "
                    "or an alias of ssh's configuration"
                )
            if hosts.count(host) > 1:
                raise ValueError(f"{host!r} stands there twice; one island works on it at a time")
        return hosts

    @field_validator("options")
    @classmethod
    def _options_are_options(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        for option in options:
            if not option.startswith("-"):
                raise ValueError(
                    f"{option!r} is no option: ssh would take it for a host; write it with its "
                    "value as one word that begins with a dash, e.g. -oPort=2222"
                )
        return options


class Toleration(Section):
    """A taint of nodes that islands put up with, in the words of Kubernetes."""

    key: str = Field("", description='of the taint; "" = every one')
    operator: Literal["Equal", "Exists"] = Field("Exists", description="Equal | Exists")
    value: str = Field("", description="of the taint, for Equal")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        "", description='of the taint; "" = every one'
    )


class KubernetesSection(Section):
    """Islands as JobSets, where island.provider = "kubernetes"."""

    image: str = Field("", description="whose python has Atoll")
    python: str = Field("python3", description="interpreter that has Atoll, in the image")
    context: str = Field(
        "", description='of the kubeconfig; "" = its current one, or the cluster this runs in'
    )
    namespace: str = Field("default", min_length=1, description="where the islands are")
    node_selector: dict[str, str] = Field(
        {}, description='labels a node must have: { "cloud.google.com/gke-spot" = "true" }'
    )
    tolerations: tuple[Toleration, ...] = Field(
        (), description='taints they put up with: [{ key = "nvidia.com/gpu" }]'
    )
    cpus: int = Field(0, ge=0, description="of a pod; 0 = island.processes x island.threads")
    memory_gb: int = Field(0, ge=0, description="of a pod; 0 = the namespace's default")
    gpu_resource: str = Field("nvidia.com/gpu", description="what GPUs are called there")
    user: int = Field(1000, ge=0, description="number of the user in the container; 0 = root")
    service_account: str = Field("", description='of the pods; "" = the default one')
    priority_class: str = Field("", description="who may be preempted by whom")
    image_pull_secrets: tuple[str, ...] = Field((), description="secrets that open the registry")
    env_from_secrets: tuple[str, ...] = Field(
        (), description="secrets that become environment variables, e.g. the storage's keys"
    )
    claims: dict[str, str] = Field(
        {}, description='PersistentVolumeClaims, and where they are seen: { shared = "/shared" }'
    )
    start_s: float = Field(
        3600.0, gt=0, description="time in which a pod must find a node and get its image"
    )


class SkypilotSection(Section):
    """Islands as nodes of clouds, where island.provider = "skypilot"."""

    command: str = Field("sky", description="SkyPilot's program, in an environment of its own")
    any_of: tuple[str, ...] = Field(
        (), description='accelerators of a node in order of liking, e.g. "H100:8", "A100-80GB:8"'
    )
    places: tuple[str, ...] = Field(
        (), description='clouds and regions in order, e.g. "aws/us-east-1", "gcp"; none = any'
    )
    spot: bool = Field(True, description="ask for spot nodes everywhere before those on demand")
    cpus: int = Field(0, ge=0, description="of a node, at least; 0 = SkyPilot's default")
    memory_gb: int = Field(0, ge=0, description="of a node, at least; 0 = SkyPilot's default")
    disk_gb: int = Field(0, ge=0, description="of a node; 0 = SkyPilot's default")
    image: str = Field("", description='machine image, or "docker:NAME"; "" = SkyPilot\'s default')
    wheel: str = Field(
        "", description='Atoll\'s wheel, a file here; nodes install it; "" = they have Atoll'
    )
    python: str = Field("python3", description="interpreter on nodes that have Atoll")
    setup: str = Field("", description="shell lines on a new node, before the agent")
    autodown_min: int = Field(
        10, ge=0, description="minutes after its agent's end when a node goes by itself; 0 = never"
    )

    @field_validator("any_of")
    @classmethod
    def _accelerators_are_counted(cls, any_of: tuple[str, ...]) -> tuple[str, ...]:
        for name in any_of:
            if not re.fullmatch(r"[\w.-]+:[1-9]\d*", name):
                raise ValueError(f'{name!r} has no number; give e.g. "H100:8"')
        return any_of
