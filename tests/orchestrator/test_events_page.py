"""The page of events names each kind that the control plane can tell, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from atoll.types import Action, IncidentKind

ROOT = Path(__file__).parents[2]
ABOUT = (
    "attempt|budget|checkpoint|checkpoints|drain|island|islands|job|leader|lease|node|orchestrator|"
    "trainer"
)
KIND = re.compile(rf"draining|({ABOUT})(-[a-z]+)+")
# Put together where they are told: f"job-{action}" and f"island-{state}"; and what islands tell.
COMPOSED = {f"job-{action}" for action in Action} | {"island-lost", "island-gone", *IncidentKind}


def kinds_in(source: str) -> set[str]:
    words = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    return {word for word in words if isinstance(word, str) and KIND.fullmatch(word)}


def test_page_of_events_names_every_kind():
    told = set(COMPOSED)
    for path in (ROOT / "orchestrator").rglob("*.py"):
        told |= kinds_in(path.read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = re.findall(r"`([a-z-]+)`", " ".join(rows))
    assert sorted(named) == sorted(told)
