"""The note by which operators elsewhere find an orchestrator, and what it cannot be abused for."""

from __future__ import annotations

import json
import shutil
import socket
import time
from dataclasses import asdict, replace

import pytest

from atoll import authority, layout
from atoll.blobs import open_store
from atoll.config_file import read_config
from atoll.credentials import SERVER, write_pair
from atoll.errors import BadInput, ConfigError, Deposed, StageMissing
from atoll.outward import outward
from atoll.rendezvous import Rendezvous
from orchestrator.connect import find
from orchestrator.rendezvous import (
    noted,
    refuse_other_database,
    refuse_served_elsewhere,
    rendezvous_of,
)
from orchestrator.stored import stored_view


@pytest.fixture
def uri(tmp_path):
    (tmp_path / "run").mkdir()
    return str(tmp_path / "run")


@pytest.fixture
def note(uri):
    config = read_config(None, [f"run.uri={uri}"])
    return rendezvous_of(config, "run-name", "127.0.0.1:1", "sqlite:////there/orchestrator.db")


@pytest.fixture
def publish(uri):
    return lambda tree: open_store(uri).publish(layout.ORCHESTRATOR, json.dumps(tree).encode())


def wait_until(holds) -> None:
    give_up_at = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_note_stands_while_an_orchestrator_serves_and_then_says_that_it_left(uri, note):
    assert Rendezvous.read(uri) is None
    with noted(open_store(uri), note, lambda: None):
        wait_until(lambda: Rendezvous.read(uri) == note)
    assert Rendezvous.read(uri) == replace(note, address="")
    assert find(read_config(None, [f"run.uri={uri}"])) is None


def test_note_of_a_successor_is_left_alone(uri, note):
    def deposed() -> None:
        raise Deposed("another one leads")

    successor = replace(note, address="127.0.0.1:2")
    with noted(open_store(uri), note, lambda: None):
        wait_until(lambda: Rendezvous.read(uri) == note)
        open_store(uri).publish(layout.ORCHESTRATOR, json.dumps(asdict(successor)).encode())
    with noted(open_store(uri), note, deposed):
        pass
    assert Rendezvous.read(uri) == successor


def test_note_in_a_copy_counts_for_nothing_and_in_a_moved_folder_as_before(
    uri, note, publish, tmp_path
):
    publish(asdict(note))
    shutil.copytree(uri, tmp_path / "copy")
    assert Rendezvous.read(str(tmp_path / "copy")) is None
    (tmp_path / "run").rename(tmp_path / "moved")
    assert Rendezvous.read(str(tmp_path / "moved")) == note
    assert note.is_from(str(tmp_path / "moved"))


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"address": "x"},
        {"address": 7},
        {"run": None},
        {"host": "h" * 5000},
        {"more": 1},
    ],
)
def test_note_that_makes_no_sense_is_none(uri, note, publish, wrong):
    publish({**asdict(note), **wrong} if wrong else wrong)
    assert Rendezvous.read(uri) is None


@pytest.mark.parametrize(
    ("told", "key"),
    [
        ({"address": "192.0.2.7:50051"}, "plain text"),
        ({"address": "127.0.0.1:1"}, "asks for no certificates"),
    ],
)
def test_note_leads_nobody_who_has_certificates_to_plain_text(uri, note, publish, told, key):
    publish(asdict(replace(note, host="elsewhere", **told)))
    config = read_config(None, [f"run.uri={uri}", "orchestrator.tls=alice"])
    with pytest.raises(ConfigError, match=key):
        find(config)


def test_what_is_written_down_elsewhere_is_named(uri, note, publish):
    publish(asdict(replace(note, host="far-away", address="")))
    with pytest.raises(StageMissing, match=r"written down on far-away, in sqlite:////there"):
        stored_view(read_config(None, [f"run.uri={uri}"]))


def test_run_in_a_bucket_is_not_begun_beside_an_orchestrator_elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    uri = "memory://rendezvous/run"
    config = read_config(None, [f"run.uri={uri}"])
    note = rendezvous_of(config, "run-name", "127.0.0.1:1", "sqlite:////there/orchestrator.db")
    refuse_served_elsewhere(uri)
    for elsewhere in (replace(note, host="far"), replace(note, folder="/another/.atoll/x")):
        open_store(uri).publish(layout.ORCHESTRATOR, json.dumps(asdict(elsewhere)).encode())
        with pytest.raises(BadInput, match=r"is served from .* delete orchestrator\.json"):
            refuse_served_elsewhere(uri)
    for fine in (note, replace(note, host="far", address="")):  # its own, or one that has left
        open_store(uri).publish(layout.ORCHESTRATOR, json.dumps(asdict(fine)).encode())
        refuse_served_elsewhere(uri)


def test_run_written_down_in_one_database_is_not_begun_in_another(uri, publish):
    default, other = f"sqlite:///{uri}/local/orchestrator.db", "sqlite:////elsewhere/x.db"
    shared = "postgresql+psycopg://atoll@db/digits"
    refuse_other_database(uri, shared, default=False)
    config = read_config(None, [f"run.uri={uri}"])
    for was, now, is_default in (
        (default, default, True),
        ("sqlite:////before/it/was/moved/local/orchestrator.db", default, True),
        (shared, "postgresql+psycopg://atoll@10.0.0.7/digits", False),
    ):
        publish(asdict(rendezvous_of(config, "run-name", "127.0.0.1:1", was)))
        refuse_other_database(uri, now, default=is_default)
    for was, now, is_default in ((default, shared, False), (other, default, True)):
        publish(asdict(rendezvous_of(config, "run-name", "127.0.0.1:1", was)))
        with pytest.raises(BadInput, match=r"is written down in .*; set it back"):
            refuse_other_database(uri, now, default=is_default)


def test_note_names_the_host_of_a_shared_certificate_that_is_this_machine(uri, tmp_path):
    hosts = ["lab-a.invalid", "192.0.2.250", socket.gethostname(), "lab-b.invalid"]
    ca = authority.new_authority(time.time(), 100)
    write_pair(tmp_path, SERVER, authority.for_hosts(ca, hosts, time.time(), 100))
    settings = [
        f"run.uri={uri}",
        f"orchestrator.tls={tmp_path}",
        "orchestrator.listen=0.0.0.0:7000",
    ]
    config = read_config(None, settings)
    assert outward(config.orchestrator, "127.0.0.1:7000") == f"{socket.gethostname()}:7000"
    write_pair(tmp_path, SERVER, authority.for_hosts(ca, hosts[:2], time.time(), 100))
    assert outward(config.orchestrator, "127.0.0.1:7000") == "lab-a.invalid:7000"
