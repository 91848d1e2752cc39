"""Secrets in files: who can read them, and what is refused."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from atoll import authority, identity
from atoll.authority import Pair
from atoll.credentials import CA, read_pair, write_pair
from atoll.errors import ConfigError
from atoll.join_token import JoinToken
from atoll.private_files import read_private, write_private

NOW = time.time()


@pytest.fixture(scope="module")
def ca() -> Pair:
    return authority.new_authority(NOW, 86400)


@pytest.fixture
def token(ca: Pair) -> JoinToken:
    who = identity.joining("run", "island-1")
    return JoinToken(authority.for_identity(ca, who, NOW, 86400), ca.certificate)


def test_private_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "new" / "secret", b"one")
        write_private(tmp_path / "new" / "secret", b"two")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert read_private(tmp_path / "new" / "secret") == b"two"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["secret"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_private_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    write_private(tmp_path / "secret", b"one")
    (tmp_path / "secret").chmod(mode)
    with pytest.raises(ConfigError, match=r"can be read by others; chmod 600"):
        read_private(tmp_path / "secret")


def test_private_pipe_can_be_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"secret")
    os.close(writing)
    assert read_private(Path(f"/dev/fd/{reading}")) == b"secret"
    os.close(reading)


def test_pair_comes_back_from_its_files(tmp_path: Path, ca: Pair) -> None:
    write_pair(tmp_path, CA, ca)
    found = read_pair(tmp_path, CA)
    assert (found.certificate, found.key_pem) == (ca.certificate, ca.key_pem)


def test_pair_of_halves_that_do_not_fit_is_refused(tmp_path: Path, ca: Pair) -> None:
    write_pair(tmp_path, CA, Pair(ca.certificate, authority.new_key()))
    with pytest.raises(ConfigError, match=r"ca\.key and ca\.crt .* do not belong together"):
        read_pair(tmp_path, CA)


@pytest.mark.parametrize("half", ["crt", "key"])
def test_pair_with_a_damaged_half_is_refused_without_showing_it(
    tmp_path: Path, ca: Pair, half: str
) -> None:
    write_pair(tmp_path, CA, ca)
    write_private(tmp_path / f"ca.{half}", b"not what it should be")
    with pytest.raises(ConfigError, match=rf"ca\.{half} holds no") as caught:
        read_pair(tmp_path, CA)
    assert "not what" not in str(caught.value)


def test_pair_that_is_missing_names_the_command(tmp_path: Path, ca: Pair) -> None:
    write_pair(tmp_path, CA, ca)
    (tmp_path / "ca.crt").unlink()
    with pytest.raises(ConfigError, match="`atoll certs"):
        read_pair(tmp_path, CA)


def test_token_comes_back_from_its_file(tmp_path: Path, token: JoinToken) -> None:
    write_private(tmp_path / "token", token.text.encode())
    found = JoinToken.read(tmp_path / "token")
    assert found.identity == identity.joining("run", "island-1")
    assert found.authority == token.authority
    assert found.text == token.text


def test_token_shown_tells_no_key(token: JoinToken) -> None:
    secret = token.pair.key_pem.decode().splitlines()[1]
    assert secret in token.text
    assert secret not in repr(token)


def test_token_of_another_kind_is_refused(tmp_path: Path, ca: Pair, token: JoinToken) -> None:
    alice = authority.for_identity(ca, identity.operator("alice"), NOW, 86400)
    for text in (JoinToken(alice, ca.certificate).text, token.pair.key_pem.decode()):
        write_private(tmp_path / "token", text.encode())
        with pytest.raises(ConfigError, match=r"holds no join token; `atoll token` makes one"):
            JoinToken.read(tmp_path / "token")
