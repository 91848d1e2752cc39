"""Notices of each cloud, over real HTTP."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from datetime import UTC, datetime

import pytest

from atoll.clock import SystemClock
from atoll.errors import BadInput
from atoll.island_section import IslandSection
from cluster.clouds import CLOUDS, NoAnswer
from cluster.notices import heed_notices
from cluster.tenure import Orders
from tests.metadata_server import MetadataServer

ALL = pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])


@pytest.fixture
def serve():
    """Starts a metadata service of a cloud."""
    servers: list[MetadataServer] = []

    def start(cloud: str) -> MetadataServer:
        servers.append(MetadataServer(cloud))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Hasty(SystemClock):
    """Waits as briefly as a test likes."""

    def __init__(self) -> None:
        self.num_pauses = 0

    def sleep(self, seconds: float) -> None:
        self.num_pauses += 1
        time.sleep(0.01)


def test_clouds_are_those_of_the_configuration():
    asked = IslandSection.model_fields["notices"].annotation.__args__
    assert set(asked) == {"none", *CLOUDS}


@ALL
def test_notice_is_told_once_it_is_given_with_event_and_time_left(serve, cloud):
    server = serve(cloud)
    asked = CLOUDS[cloud](server.url)
    server.at = datetime(2027, 1, 31, 12, tzinfo=UTC).timestamp()
    now = server.at - 100
    assert [asked.notice(now) for _ in range(2)] == ["", ""]
    server.given = True
    told = {
        "aws": "AWS takes the node back: terminate at 12:00:00 UTC, 100 s from now",
        "gcp": "Google Cloud takes the node back: preempted, within 30 s",
        "azure": "Azure takes the node back: Preempt at 12:00:00 UTC, 100 s from now",
    }
    assert asked.notice(now) == told[cloud]


def test_aws_token_is_kept_and_renewed_when_it_has_ended(serve):
    server = serve("aws")
    aws = CLOUDS["aws"](server.url)
    aws.notice(0.0)
    aws.notice(0.0)
    assert server.asked.count("/latest/api/token") == 1
    server.tokens.clear()
    with pytest.raises(NoAnswer, match="401"):
        aws.notice(0.0)
    assert aws.notice(0.0) == ""
    assert server.asked.count("/latest/api/token") == 2


def test_azure_that_tells_no_name_gives_notice_all_the_same(serve):
    server = serve("azure")
    server.nameless = True
    server.body = '{"Events": [{"EventType": "Preempt", "Resources": [], "NotBefore": ""}]}'
    assert CLOUDS["azure"](server.url).notice(0.0) == "Azure takes the node back: Preempt"


@ALL
@pytest.mark.parametrize("body", ["", "{", "[]", "junk", '{"Events": 3}', '{"Events": [1]}'])
def test_rubbish_is_no_answer_or_no_notice(serve, cloud, body):
    server = serve(cloud)
    server.given, server.body = cloud == "aws", body
    with contextlib.suppress(NoAnswer):
        assert CLOUDS[cloud](server.url).notice(0.0) == ""


@pytest.mark.parametrize("url", ["nonsense", "https://x", "http://", "http://h:99999", "ftp://h"])
def test_url_that_is_none_is_refused(url):
    with pytest.raises(BadInput, match="--notices-url"):
        CLOUDS["aws"](url)


@ALL
def test_island_is_told_to_leave_by_a_notice(serve, cloud, caplog):
    server, orders = serve(cloud), Orders()
    heed_notices(CLOUDS[cloud](server.url), orders, Hasty())
    while len(server.asked) < 5:
        time.sleep(0.01)
    assert not orders.drain
    server.given = True
    while not orders.drain:
        time.sleep(0.01)
    assert "takes the node back" in orders.why
    assert [record.getMessage() for record in caplog.records] == ["the node is taken back"]


@ALL
@pytest.mark.parametrize("what", ["nobody", "silence", "another cloud"])
def test_island_without_the_service_is_warned_once_and_left_alone(serve, cloud, what, caplog):
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = {
            "nobody": "http://127.0.0.1:1",
            "silence": f"http://127.0.0.1:{mute.getsockname()[1]}",
            "another cloud": serve({"aws": "gcp", "gcp": "azure", "azure": "aws"}[cloud]).url,
        }[what]
        orders, clock = Orders(), Hasty()
        heed_notices(CLOUDS[cloud](url), orders, clock)
        while clock.num_pauses < 2:
            time.sleep(0.01)
        assert not orders.drain
        orders.drain = True
    for thread in threading.enumerate():
        if thread.name.startswith("notices of"):
            thread.join(timeout=240)
    assert [record.getMessage() for record in caplog.records] == ["no notice can be had; asking on"]
