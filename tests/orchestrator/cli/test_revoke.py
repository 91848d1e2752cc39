"""The command that shuts somebody out."""

from __future__ import annotations

import json

import pytest

from atoll.revocations import read_revocations


@pytest.fixture
def settings(tmp_path, atoll):
    atoll("certs", tmp_path / "tls", "--operator", "alice")
    (tmp_path / "run" / "local").mkdir(parents=True)  # as its orchestrator does
    return ["-s", f"run.uri={tmp_path / 'run'}", "-s", f"orchestrator.tls={tmp_path / 'tls'}"]


def test_revoke_writes_down_operators_and_islands_and_lists_them(tmp_path, atoll, settings):
    whom = ["--operator", "alice", "--island", "far-1", "-m", "stolen"]
    code, out, told = atoll("revoke", *whom, *settings)
    assert (code, told) == (0, "")
    assert "operator alice" in out
    entries = read_revocations(tmp_path / "tls")
    code, out, _ = atoll("revoke", "--list", "--json", *settings)
    listed = json.loads(out)
    assert code == 0
    assert [row["who"] for row in listed] == ["operator alice", "far-1"]
    assert [row["why"] for row in listed] == ["stolen", "stolen"]
    assert [row["since"] for row in listed] == [entry.at for entry in entries.values()]
    assert [row["run"] for row in listed] == [None, list(entries)[1].split("/")[2]]


def test_revoked_names_are_given_to_nobody_again(tmp_path, atoll, settings):
    atoll("revoke", "--operator", "alice", "--island", "far-1", "-m", "stolen", *settings)
    code, _, told = atoll("certs", tmp_path / "tls", "--operator", "alice")
    assert (code, told) == (
        2,
        "atoll: --operator: operator alice was revoked: stolen; give them another name\n",
    )
    code, _, told = atoll("token", tmp_path / "t", "--island", "far-1", *settings)
    assert (code, told) == (
        2,
        "atoll: --island: far-1 was revoked; give the node another name\n",
    )
    assert not (tmp_path / "t").exists()
    assert atoll("token", tmp_path / "t", "--island", "far-2", *settings)[0] == 0
    assert atoll("certs", tmp_path / "tls", "--operator", "bob")[0] == 0


def test_revoke_of_a_name_nobody_had_is_done_and_said(tmp_path, atoll, settings):
    code, _, told = atoll("revoke", "--operator", "alcie", *settings)
    assert code == 0
    assert "nobody called operator alcie was seen here" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give --operator, --island, --gateway or --server with a NAME"),
        (["--list", "--operator", "a"], "leave out the names, or --list"),
        (["--operator", "a b"], "--operator: 'a b' is no name"),
        (["--island", "../x"], "--island: '../x' is no name"),
        (["--operator", "local"], "make a new folder with `atoll certs`"),
    ],
)
def test_revoke_of_what_cannot_be_is_refused_with_the_mend(tmp_path, atoll, settings, words, told):
    code, _, said = atoll("revoke", *words, *settings)
    assert code == 2
    assert told in said
    assert read_revocations(tmp_path / "tls") == {}


def test_revoke_in_plain_text_or_without_the_folder_is_refused(tmp_path, atoll, settings):
    code, _, told = atoll("revoke", "--operator", "a", *settings[:2])
    assert code == 2
    assert "set orchestrator.tls, see `atoll certs`" in told
    settings[-1] = f"orchestrator.tls={tmp_path / 'none'}"
    code, _, told = atoll("revoke", "--list", *settings)
    assert code == 2
    assert f"`atoll certs {tmp_path / 'none'}` makes one" in told


def test_revoke_where_no_orchestrator_would_heed_it_is_refused(tmp_path, atoll, settings):
    settings[1] = f"run.uri={tmp_path / 'other'}"
    code, _, told = atoll("revoke", "--island", "far-1", *settings)
    assert code == 2
    assert "was never served from here" in told
    assert not (tmp_path / "other").exists()
    settings[-1] = f"orchestrator.tls={tmp_path / 'tls' / 'operators' / 'alice'}"
    code, _, told = atoll("revoke", "--operator", "bob", *settings)
    assert code == 2
    assert "holds no ca.key, so no orchestrator goes by it" in told
