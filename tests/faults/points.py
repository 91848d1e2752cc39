"""Points in the midst of a process's work, at which somebody is struck; see ``inside/``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

INSIDE = Path(__file__).parent / "inside"


@dataclass(frozen=True)
class Point:
    """The n-th call of a function in the first process that comes so far.

    Attributes:
        process: whose call it is: agent, orchestrator or trainer.
        place: ``module:function``.
        when: before or after the call, or halfway through the file it copies.
        nth: which call counts.
        about: only calls whose arguments say this are counted.
        victim: agent or orchestrator; "" for the process itself.
        blow: SIGKILL, SIGSEGV or "hold the GIL".
    """

    process: str
    place: str
    when: str = "before"
    nth: int = 2
    about: str = ""
    victim: str = ""
    blow: str = "SIGKILL"


def served(call: str) -> str:
    """Where a request has reached the orchestrator."""
    return f"orchestrator.rpc.servicer:IslandsServicer.{call}"


SAVE = "orchestrator.storage.sql_store:SqlStore.save"
INSERT = "orchestrator.storage.sql_store:_event_row"  # within the transaction
MANIFEST = "atoll.file_store:FileStore.put_bytes"  # all other files of a checkpoint are there
COMMIT = "atoll.control:ControlClient.commit"
COPY = "shutil:copyfile"
STEP = "atoll.relay:Speaker.say"
