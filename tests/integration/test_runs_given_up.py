"""Runs whose islands come to nothing: a few tries, one sentence, and nothing left behind."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster import processes
from tests.integration.runs import make_certificates
from tests.skypilot import scripted

pytestmark = pytest.mark.timeout(300)

IMAGE = "atoll:test"
QUOTA = "Found no quota for p5.48xlarge instances."
# Python runs it first; the far end of ssh is to live, and only what that starts is to die.
NO_AGENT = """
import os, sys
if "agent" in sys.orig_argv:
    os.write(2, b"this host has no GPU driver\\n")
    os._exit(1)
"""


@dataclass(frozen=True)
class Hopeless:
    """A place where no island comes to work.

    Attributes:
        settings: of a run there.
        why: its own words, which the user reads.
        started: names of the islands that were ever asked of it, with one for each time.
        left: what is there now of any of them.
    """

    settings: Sequence[str]
    why: str
    started: Callable[[], list[str]]
    left: Callable[[], Sequence[object]]


@pytest.fixture
def secured(own_address, tmp_path) -> list[str]:
    """What a run is told whose islands are on other machines."""
    tls = tmp_path / "tls"
    make_certificates(tls, "--host", own_address)
    return [f"orchestrator.listen={own_address}:0", f"orchestrator.tls={tls}"]


@pytest.fixture
def lost_image(kubernetes, secured, tmp_path) -> Hopeless:
    cluster = kubernetes.cluster
    cluster.kubelet.lost_images.add(IMAGE)
    keys = [f"image={IMAGE}", "namespace=atoll", f'claims={{shared="{tmp_path}"}}']

    def started() -> list[str]:
        sent = (json.loads(body) for body in kubernetes.bodies if body)
        jobsets = [tree["metadata"] for tree in sent if tree["kind"] == "JobSet"]
        islands = [meta["annotations"]["atoll/island"] for meta in jobsets]
        return [island for island in islands if island != "island-0"]  # of the rehearsal

    return Hopeless(
        [*secured, 'island.provider="kubernetes"', *(f"kubernetes.{key}" for key in keys)],
        f'its container does not start: ImagePullBackOff: Back-off pulling image "{IMAGE}"',
        started,
        lambda: [*map(cluster.of, ("jobsets", "jobs", "pods", "secrets"))],
    )


@pytest.fixture
def sky(secured, tmp_path):
    """Of clouds; makes a place where something goes wrong."""
    folder = scripted.install(tmp_path / "sky").parent

    def where(why: str, **misfortunes: object) -> Hopeless:
        # Nodes are looked at every 20 s, unless they have ended before the first look is answered.
        scripted.let(folder, slow_s={"api status": 1}, **misfortunes)
        keys = ['places=["aws", "gcp"]', f"command={folder / 'sky'}", f"python={sys.executable}"]
        return Hopeless(
            [*secured, 'island.provider="skypilot"', *(f"skypilot.{key}" for key in keys)],
            why,
            lambda: [json.loads(path.read_text())["name"] for path in folder.glob("tasks/*")],
            lambda: [*scripted.clusters(folder), *tmp_path.rglob("join-token.pem")],
        )

    yield where
    scripted.stop(folder)


@pytest.fixture
def no_quota(sky) -> Hopeless:
    kinds = [f"{cloud} {kind}" for cloud in ("aws", "gcp") for kind in ("spot", "on-demand")]
    return sky(QUOTA, refuse=dict.fromkeys(kinds, QUOTA))


@pytest.fixture
def no_setup(sky) -> Hopeless:
    return sky("Could not resolve host: astral.sh, and wrote last", unprepared=True)


@pytest.fixture
def no_agent(sshd, tmp_path) -> Hopeless:
    (tmp_path / "sitecustomize.py").write_text(NO_AGENT)
    folders = [sshd.home(name) / tmp_path.name for name in sshd.servers]

    def found(name: str) -> list[Path]:
        return [path for folder in folders for path in folder.rglob(name)]

    setup = f'export PYTHONPATH="{tmp_path}:$PYTHONPATH"'
    return Hopeless(
        [*sshd.settings(), f"ssh.folder=~/{tmp_path.name}", f"ssh.setup='{setup}'"],
        "exited with code 1, and wrote last: this host has no GPU driver",
        lambda: [path.parent.name for path in found("agent.log")],
        lambda: [*found("work"), *found("*.pem"), *map(processes.working_in, folders)],
    )


@pytest.mark.parametrize("place", ["lost_image", "no_quota", "no_setup", "no_agent"])
def test_run_whose_islands_come_to_nothing_ends_after_its_tries_and_leaves_nothing(
    place, request, make_run, until, tmp_path
):
    hopeless = request.getfixturevalue(place)
    few = ["island.count=1", "island.max_failures=1", "partition.num_experts=1"]
    run = make_run("run", overrides=[*hopeless.settings, *few])
    launcher = run.launch()
    told = run.finish(launcher)
    assert launcher.returncode == 1
    *_, sentence = told.splitlines()
    assert sentence.startswith(
        "atoll: expert-0: no island stays alive, after 2 tries in a row; island-2 "
    )
    assert hopeless.why in sentence
    assert sorted(hopeless.started()) == ["island-1", "island-2"]
    until(lambda: not any(hopeless.left()))
    run.wait_for_its_end()
    assert not processes.working_in(tmp_path)
