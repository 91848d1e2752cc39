"""What a process has of the machine's memory, and what it had at most."""

from __future__ import annotations

import re
from pathlib import Path

_OWN = Path("/proc/self")
_FORGET = "5"  # the peak so far, see proc_pid_clear_refs(5)


def peak_bytes() -> int:
    """Largest resident memory this process ever had; unlike rusage, without its parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", (_OWN / "status").read_text(encoding="ascii"))
    assert found
    return int(found[1]) * 1024


def forget_peak() -> int:
    """Begin anew with what is resident now, in bytes."""
    (_OWN / "clear_refs").write_text(_FORGET, encoding="ascii")
    return peak_bytes()
