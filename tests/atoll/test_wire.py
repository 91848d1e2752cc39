"""Older and newer peers of one version of the wire understand each other.

The bytes below were recorded once, and are never made anew: they stand for a peer of that day.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest

from atoll import codec, view_codec
from atoll.errors import Refused
from atoll.types import (
    Assignment,
    CheckpointRef,
    Ending,
    Event,
    JobSpec,
    JobState,
    Lease,
    Progress,
    Role,
    Wait,
)
from atoll.views import FleetView, IslandView, JobView
from atoll.wire.v1 import control_pb2 as wire

REF = CheckpointRef("checkpoints/expert-0/epoch-0002/step-00000040", "abc123", 40, 2)
SPEC = JobSpec("expert-0", Role.EXPERT, 0, "s3://lab/run", 100, "d1")
ISLAND = IslandView("island-1", "idle", "", 0.5)
AT_40 = Progress(40, 0.25, 64.0)
JOB = JobView(SPEC, JobState.PAUSED, 2, "", 1, "paused: enough", AT_40, REF, 1, 2, "the end")

ASSIGNMENT = (
    "0a80010a1f0a086578706572742d30120869736c616e642d31180221000000000000244012200a08657870657274"
    "2d301001220c73333a2f2f6c61622f72756e2864320264311a3b0a2d636865636b706f696e74732f657870657274"
    "2d302f65706f63682d303030322f737465702d3030303030303430120661626331323318282002"
)
WAIT = "120b09000000000000e03f1001"
FLEET = (
    "0a98010a200a086578706572742d301001220c73333a2f2f6c61622f72756e286432026431100518022801320e70"
    "61757365643a20656e6f7567683a14082811000000000000d03f190000000000005040423b0a2d636865636b706f"
    "696e74732f6578706572742d302f65706f63682d303030322f737465702d30303030303034301206616263313233"
    "18282002480150025a0774686520656e6412190a0869736c616e642d31120469646c6521000000000000e03f"
)
EVENT = (
    "080711000000000000f83f1a086a6f622d646f6e652216616c6c203130302073746570732061726520646f6e652a"
    "086578706572742d30320869736c616e642d313802"
)
# Field 1000, a text: what a newer peer may say that nobody here knows yet.
NEWER = bytes.fromhex("c23e") + b"\x03new"


@pytest.mark.parametrize("more", [b"", NEWER], ids=["older", "newer"])
def test_recorded_messages_are_understood(more: bytes) -> None:
    def heard(recorded: str) -> bytes:
        return bytes.fromhex(recorded) + more

    acquired = wire.AcquireResponse.FromString(heard(ASSIGNMENT))
    lease = Lease("expert-0", "island-1", 2, 10.0)
    assert codec.decode_acquired(acquired) == Assignment(lease, SPEC, REF)
    assert codec.decode_acquired(wire.AcquireResponse.FromString(heard(WAIT))) == Wait(0.5, True)
    fleet = view_codec.decode_fleet(wire.GetFleetResponse.FromString(heard(FLEET)))
    assert fleet == FleetView((JOB,), (ISLAND,), draining=False)
    event = codec.decode_event(wire.Event.FromString(heard(EVENT)))
    assert event == Event(
        "job-done", "all 100 steps are done", "expert-0", "island-1", 2, number=7, at=1.5
    )


def test_job_of_an_older_orchestrator_has_no_losses_and_no_log() -> None:
    old = wire.GetFleetResponse.FromString(bytes.fromhex(FLEET))
    for name in ("losses", "preemptions", "log"):
        old.jobs[0].ClearField(name)
    (job,) = view_codec.decode_fleet(old).jobs
    assert (job.losses, job.preemptions, job.log) == (0, 0, "")


def test_enum_value_of_a_newer_peer_is_refused_in_a_sentence() -> None:
    newer = wire.ReleaseRequest(ending=99)
    with pytest.raises(Refused, match="99"):
        codec.decode_enum(Ending, wire.ReleaseRequest.FromString(newer.SerializeToString()).ending)


@pytest.fixture(scope="module")
def checker():
    path = Path(__file__).parents[2] / "scripts" / "wire"
    loader = importlib.machinery.SourceFileLoader("wire_checker", str(path))
    spec = importlib.util.spec_from_loader("wire_checker", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_protos_are_as_recorded_and_keep_the_style(checker) -> None:
    assert checker.main() == 0
    facts = checker.facts_of(wire.DESCRIPTOR)
    assert facts["atoll.wire.v1.Lease.epoch"] == "= 3 uint64"
    assert facts["atoll.wire.v1.Operators/WatchEvents"].startswith(
        "(atoll.wire.v1.WatchEventsRequest) -> stream"
    )


def test_checker_finds_what_was_removed_renumbered_or_retyped(checker) -> None:
    recorded = {"a.M.x": "= 1 string", "a.M.y": "= 2 uint64", "a.M.z": "= 3 bool"}
    now = {"a.M.x": "= 1 string", "a.M.y": "= 4 uint64", "a.M.new": "= 5 string"}
    assert sorted(checker.changes(recorded, now)) == [
        "a.M.y was '= 2 uint64' and is '= 4 uint64'",
        "a.M.z was '= 3 bool' and is 'gone'",
    ]
