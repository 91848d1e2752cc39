"""Which collectives this process has come to, and in which it waits, from torch's flight recorder.

The recorder notes every call of Gloo and NCCL in a ring in memory; sends and receives of Gloo it
does not note, so those are told from where the main thread is.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from torch._C import _distributed_c10d as c10d

from atoll.beats import Collective

_CALLS = "128"  # that are remembered, of all groups together
_RECORDERS = {"gloo": "_dump_fr_trace_json", "nccl": "_dump_nccl_trace_json"}
_TORCH = Path("torch", "distributed")


def record() -> None:
    """Have torch keep note; to be called before the first group of processes is made."""
    os.environ.setdefault("TORCH_FR_BUFFER_SIZE", _CALLS)


def come_to() -> tuple[Mapping[str, int], Sequence[Collective]]:
    """How many calls of each group were begun, and those that are not over."""
    begun: dict[str, int] = {}
    inside: list[Collective] = []
    for library, dump in _RECORDERS.items():
        if hasattr(c10d, dump):  # NCCL's is there only where torch was built with it
            for told in json.loads(getattr(c10d, dump)()).get("entries", ()):
                call = _collective(library, told)
                begun[call.group] = max(call.number, begun.get(call.group, 0))
                inside += [] if told["retired"] else [call]
    return begun, inside


def main_thread_at() -> tuple[str, Collective | None]:
    """The line of Python the main thread is at, and the call of torch it waits in there, if any."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    if frame is None:
        return "", None
    inside = None
    if _is_torchs(frame):
        inside = Collective(frame.f_code.co_name)
        while frame.f_back and _is_torchs(frame):
            frame = frame.f_back
    path, line, name = frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
    return f"{Path(path).name}:{line} in {name}", inside


def _collective(library: str, call: Mapping[str, Any]) -> Collective:
    number = 0 if call["is_p2p"] else int(call["collective_seq_id"])
    name, _ = call["process_group"]  # the same on all its processes, unlike its id
    return Collective(call["profiling_name"], f"{library} {name}", number)


def _is_torchs(frame: FrameType) -> bool:
    return str(_TORCH) in frame.f_code.co_filename
