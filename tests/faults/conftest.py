"""The run of the integration tests, and a scene for a fault."""

from __future__ import annotations

import pytest

from tests.faults.scene import Scene
from tests.integration.conftest import make_run, run, undisturbed, until

__all__ = ["make_run", "run", "scene", "undisturbed", "until"]


@pytest.fixture
def scene(run, monkeypatch, until, tmp_path) -> Scene:
    return Scene(run, monkeypatch, until, tmp_path)
