"""The sections of the configuration file about the places where islands run, one for each."""

from __future__ import annotations

from pydantic import Field, field_validator

from atoll.section import Section

# Their names in the file. They say what shells run, and with whose rights.
PROVIDER_SECTIONS = ("slurm", "ssh")


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
        (), description="as ssh knows them: user@host, or aliases; one island at a time on each"
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
