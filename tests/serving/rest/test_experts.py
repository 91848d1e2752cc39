"""Where experts are served is told to whoever may ask."""

from __future__ import annotations

import pytest

from serving.remote.replica import Replica
from serving.remote.usage import Usage
from tests.fakes import ManualClock


@pytest.fixture
def usage():
    """Of two experts, of which a server has one; its rows take more time than it has."""
    clock = ManualClock()
    replica = Replica("a:1", clock, experts={1: "digest"}, rows_per_s=100.0)
    usage = Usage(2, lambda: [replica], clock)
    clock.sleep(10.0)
    usage.hear((0, 1500))
    return usage


def test_experts_elsewhere_are_told_with_how_many_servers_would_be_well(serve, usage):
    with serve(more={"usage": usage}.items()).client() as client:
        first, second = client.get("/v1/experts").json()["data"]
    nobody = {"servers": 0, "checkpoints": {}, "rows_per_s": 0.0, "busy": None, "wanted": 1}
    assert first == {"expert": 0, **nobody}
    hot = {"servers": 1, "checkpoints": {"digest": 1}, "rows_per_s": 150.0, "busy": 1.5}
    assert second == {"expert": 1, **hot, "wanted": 3}


def test_service_that_holds_its_experts_itself_tells_of_none(served):
    with served.client() as client:
        assert client.get("/v1/experts").json() == {"data": []}
