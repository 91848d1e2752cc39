"""The command that makes a lab's certificates."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest

from atoll import authority, identity
from atoll.__main__ import main
from atoll.credentials import OPERATOR, SERVER, operator_credentials, read_pair, write_pair


@pytest.fixture
def certs(tmp_path, capsys):
    """Runs the command; returns its folder, and what it told."""

    def call(*words: str) -> tuple[Path, list[dict[str, str]]]:
        with pytest.raises(SystemExit) as ended:
            main(["certs", str(tmp_path / "tls"), *words, "--json"])
        output = capsys.readouterr()
        assert ended.value.code == 0, output.err
        return tmp_path / "tls", json.loads(output.out)

    return call


def digests(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_certs_makes_files_for_their_owner_alone(certs):
    folder, rows = certs("--host", "192.0.2.7", "--operator", "alice")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == sorted(
        ["ca.crt", "operator.crt", "operator.key"] * 2 + ["ca.key", "server.crt", "server.key"]
    )
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert rows[1]["for"] == "localhost, 127.0.0.1, ::1, 192.0.2.7"
    theirs = read_pair(folder / "operators" / "alice", OPERATOR)
    assert authority.identity_in(theirs.certificate) == identity.operator("alice")
    operator_credentials(folder / "operators" / "alice")


def test_certs_makes_folders_for_servers_by_their_hosts(certs):
    folder, rows = certs("--server", "192.0.2.7", "--server", "gpu7.example.org")
    assert [row["for"] for row in rows[-2:]] == ["server 192.0.2.7", "server gpu7.example.org"]
    for host in ("192.0.2.7", "gpu7.example.org"):
        theirs = folder / "servers" / host
        assert {each.name for each in theirs.iterdir()} == {"ca.crt", "server.crt", "server.key"}
        pair = read_pair(theirs, SERVER)
        assert authority.hosts_in(pair.certificate) == [host]
        assert authority.identity_in(pair.certificate) == identity.server(host)
    own = read_pair(folder, SERVER).certificate
    assert authority.identity_in(own) == identity.server("local")


@pytest.mark.parametrize("host", ["2001:db8::7", "::1"])
def test_certs_for_a_server_at_an_address_with_colons_names_it_as_it_is_revoked(certs, host):
    folder, _ = certs("--server", host)
    (theirs,) = (folder / "servers").iterdir()
    certificate = read_pair(theirs, SERVER).certificate
    assert authority.hosts_in(certificate) == [host]
    assert authority.identity_in(certificate) == identity.server(host)
    assert identity.server("2001:DB8:0::7") == identity.server("2001:db8::7")


def test_certs_again_changes_nothing(certs):
    folder, _ = certs("--host", "lab.example.org")
    before = digests(folder)
    certs()
    assert digests(folder) == before


def test_certs_with_other_hosts_keeps_the_authority(certs):
    folder, _ = certs("--host", "lab.example.org")
    before = digests(folder)
    certs("--host", "192.0.2.7")
    changed = {name for name, data in digests(folder).items() if data != before[name]}
    assert changed == {"server.crt", "server.key"}


def test_certs_that_end_soon_are_made_anew_for_the_same_hosts(certs):
    folder, _ = certs("--host", "lab.example.org", "--days", "29")
    before = read_pair(folder, SERVER).certificate
    certs()
    after = read_pair(folder, SERVER).certificate
    assert authority.hosts_in(after) == authority.hosts_in(before)
    assert authority.seconds_left(after, time.time()) > 300 * authority.DAY_S


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--host", "192.0.2.7:50051"], "without a port"),
        (["--host", "a b"], "--host a b"),
        (["--server", "192.0.2.7:8210"], "--server 192.0.2.7:8210: write an address"),
        (["--operator", "../root"], "is no name"),
        (["--server", "local"], "--server: local is who serves from the folder itself"),
    ],
)
def test_certs_for_what_is_no_name_makes_nothing(tmp_path, capsys, words, told):
    with pytest.raises(SystemExit) as ended:
        main(["certs", str(tmp_path / "tls"), *words])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "tls").exists()


def test_certs_with_half_an_authority_replaces_nothing(tmp_path, capsys):
    ca = authority.new_authority(time.time(), 100)
    write_pair(tmp_path, "ca", ca)
    (tmp_path / "ca.crt").unlink()
    with pytest.raises(SystemExit):
        main(["certs", str(tmp_path)])
    assert "has no ca.crt; put it back" in capsys.readouterr().err
    assert (tmp_path / "ca.key").read_bytes() == ca.key_pem
