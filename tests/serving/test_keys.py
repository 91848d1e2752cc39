"""Whose key is known, from the file as it is at the moment."""

from __future__ import annotations

import stat

import pytest

from atoll.__main__ import main
from atoll.errors import BadInput, ConfigError, Forbidden
from serving.keys import Keys, add_key


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.toml"


def test_key_is_known_by_a_file_that_does_not_hold_it(path):
    alice, bob = add_key(path, "alice"), add_key(path, "bob")
    keys = Keys(path)
    assert (keys.owner_of(alice), keys.owner_of(bob)) == ("alice", "bob")
    assert alice not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("shown", ["", "atoll-guess", "alice", "\udcff"])
def test_stranger_is_refused(path, shown):
    add_key(path, "alice")
    with pytest.raises(Forbidden, match="atoll key"):
        Keys(path).owner_of(shown)


def test_keys_follow_their_file_and_outlive_a_damaged_one(path):
    alice = add_key(path, "alice")
    keys = Keys(path)
    bob = add_key(path, "bob")
    assert keys.owner_of(bob) == "bob"
    path.write_text("alice = ")
    assert keys.owner_of(bob) == "bob"
    path.write_text("")
    with pytest.raises(Forbidden):
        keys.owner_of(alice)


@pytest.mark.parametrize("text", ["alice = 3", 'alice = "secret"', "alice", "[alice]"])
def test_file_of_something_else_is_refused_by_its_name(path, text):
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"keys\.toml is no file of keys"):
        Keys(path)


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, "alice"])
def test_key_for_a_name_that_cannot_be_used_is_refused(path, name):
    add_key(path, "alice")
    with pytest.raises(BadInput, match=r"name for a key|has a key"):
        add_key(path, name)


def test_key_for_a_folder_that_is_not_there_is_refused_and_makes_none(tmp_path):
    with pytest.raises(BadInput, match="typo is no folder"):
        add_key(tmp_path / "typo" / "keys.toml", "alice")
    assert not list(tmp_path.iterdir())


def test_command_writes_a_key_to_standard_output_alone(path, capsys):
    with pytest.raises(SystemExit):
        main(["key", str(path), "alice"])
    told = capsys.readouterr()
    assert Keys(path).owner_of(told.out.strip()) == "alice"
    assert told.out.strip() not in told.err
