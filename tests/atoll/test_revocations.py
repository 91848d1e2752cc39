"""The list of those who are shut out."""

from __future__ import annotations

import logging
import stat
import subprocess
import sys

import pytest

from atoll import identity
from atoll.errors import ConfigError
from atoll.revocations import Revocation, Revocations, read_revocations, revoke

ALICE, FAR = identity.operator("alice"), identity.island("run", "far-1")


def test_list_is_empty_where_nobody_was_revoked(tmp_path):
    assert read_revocations(tmp_path) == {}
    assert Revocations(tmp_path).known() == {}


def test_list_grows_and_keeps_what_was_said_first(tmp_path):
    revoke(tmp_path, [ALICE], "laptop stolen", 1.0)
    entries = revoke(tmp_path, [FAR, ALICE], "", 2.0)
    alice, far = Revocation(ALICE, 1.0, "laptop stolen"), Revocation(FAR, 2.0, "")
    assert entries == read_revocations(tmp_path) == {ALICE.uri: alice, FAR.uri: far}
    assert str(alice) == "operator alice was revoked: laptop stolen"
    assert str(far) == "far-1 was revoked"
    assert stat.S_IMODE((tmp_path / "revoked.json").stat().st_mode) == 0o600


def test_list_written_by_several_processes_at_once_loses_nobody(tmp_path):
    script = """
import sys; from pathlib import Path
from atoll import identity; from atoll.revocations import revoke
for number in range(10):
    revoke(Path(sys.argv[1]), [identity.operator(f"{sys.argv[2]}-{number}")], "", 0.0)
"""
    command = [sys.executable, "-c", script, tmp_path]
    writers = [subprocess.Popen([*command, name]) for name in ("a", "b", "c")]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(read_revocations(tmp_path)) == 30


def test_list_heeded_by_a_server_is_read_anew_when_it_changes(tmp_path):
    heeded = Revocations(tmp_path)
    revoke(tmp_path, [ALICE], "", 1.0)
    assert list(heeded.known()) == [ALICE.uri]
    revoke(tmp_path, [FAR], "", 2.0)
    assert list(heeded.known()) == [ALICE.uri, FAR.uri]


@pytest.mark.parametrize(
    "rubbish",
    [
        *("", "{", "null", "[1]", "[[]]", '[{"who": 1}]'),
        '[{"who": "alice", "at": 1, "why": ""}]',
        '[{"who": "atoll://run/join/far-1", "at": 1, "why": ""}]',
    ],
)
def test_list_that_is_damaged_is_refused_at_the_start_and_lets_nobody_in_later(
    tmp_path, rubbish, caplog
):
    revoke(tmp_path, [ALICE], "", 1.0)
    heeded = Revocations(tmp_path)
    (tmp_path / "revoked.json").write_text(rubbish)
    (tmp_path / "revoked.json").chmod(0o600)
    for read in (read_revocations, Revocations, lambda folder: revoke(folder, [FAR], "", 2.0)):
        with pytest.raises(ConfigError, match=r"revoked\.json is damaged.*restore it"):
            read(tmp_path)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert list(heeded.known()) == [ALICE.uri]
    assert [record.getMessage() for record in caplog.records] == ["revocations not read"]


def test_list_that_is_taken_away_lets_nobody_in(tmp_path):
    revoke(tmp_path, [ALICE], "", 1.0)
    heeded = Revocations(tmp_path)
    (tmp_path / "revoked.json").unlink()
    assert list(heeded.known()) == [ALICE.uri]
    revoke(tmp_path, [FAR], "", 2.0)
    assert list(heeded.known()) == [ALICE.uri, FAR.uri]
