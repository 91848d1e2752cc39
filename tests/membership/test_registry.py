"""The registry as servers and gateways meet it: where it is, whom it believes, what it survives."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from atoll import authority, identity
from atoll.clock import SystemClock
from atoll.credentials import GATEWAY, SERVER, read_pair, write_pair
from atoll.errors import ConfigError, Forbidden, Refused, Unreachable
from atoll.identity import Kind as Who
from atoll.revocations import revoke
from membership import registry
from membership.place import Nowhere
from membership.record import Kind, Record
from membership.registry import Registry
from tests.registry import note, orchestrator
from tests.serving.secured import make_lab

CLOCK = SystemClock()
ONE = Record(Kind.EXPERTS, "partition-1", "127.0.0.1:7", "127.0.0.1:7")
OTHER = replace(ONE, name="localhost:7", address="localhost:7")


@pytest.fixture
def uri(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def lab(tmp_path):
    return make_lab(tmp_path / "lab")


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    monkeypatch.setattr(registry, "_LOOK_S", 0.0)


def plain(uri):
    return Registry(str(uri), "expert_server.tls", "", Who.SERVER, CLOCK)


def over_tls(uri, folder, as_whom=Who.SERVER):
    return Registry(str(uri), "expert_server.tls", str(folder), as_whom, CLOCK)


def found(asked):
    return [each.name for each in asked.find(ONE.run, Kind.EXPERTS).records]


def test_registry_on_loopback_takes_what_nobody_has_signed(uri):
    with orchestrator(uri) as service, plain(uri) as server, plain(uri) as gateway:
        server.announce(ONE, None)
        assert found(gateway) == [ONE.name]
        (seen,) = service.view().servers
        assert seen.address == ONE.address


def test_registry_on_loopback_tells_of_nobody_beyond_it(uri):
    with orchestrator(uri), plain(uri) as asked:
        with pytest.raises(Refused, match="is beyond this machine, and nobody has signed for it"):
            asked.announce(replace(ONE, name="192.0.2.7:7", address="192.0.2.7:7"), None)
        assert found(asked) == []


def test_registry_is_nowhere_while_no_orchestrator_serves_and_found_once_one_does(uri):
    with plain(uri) as asked:
        with pytest.raises(Nowhere):
            asked.announce(ONE, None)
        for _ in range(2):  # wherever it is
            with orchestrator(uri):
                asked.announce(ONE, None)
                assert found(asked) == [ONE.name]
            with pytest.raises(Unreachable):
                found(asked)
            with pytest.raises(Nowhere):
                found(asked)


def test_registry_asks_the_store_where_it_is_once_in_a_while_alone(uri, monkeypatch):
    monkeypatch.setattr(registry, "_LOOK_S", 60.0)
    with plain(uri) as asked:
        with pytest.raises(Nowhere):
            found(asked)
        with orchestrator(uri), pytest.raises(Nowhere):
            found(asked)


@pytest.mark.parametrize("as_whom", [Who.SERVER, Who.GATEWAY])
def test_registry_over_tls_answers_servers_and_gateways_by_their_own_folders(uri, lab, as_whom):
    make_lab(lab, "--server", "127.0.0.1")
    folder = lab / "servers" / "127.0.0.1" if as_whom is Who.SERVER else lab / "gateways" / "web"
    with orchestrator(uri, lab), over_tls(uri, folder, as_whom) as asked:
        asked.announce(ONE, read_pair(lab, SERVER))
        assert found(asked) == [ONE.name]


def test_registry_over_tls_refuses_records_that_no_server_has_signed(uri, lab):
    gateway = lab / "gateways" / "web"
    with orchestrator(uri, lab), over_tls(uri, gateway, Who.GATEWAY) as asked:
        for by in (read_pair(gateway, GATEWAY), None):
            with pytest.raises(Refused, match="the record is not believed"):
                asked.announce(ONE, by)
        with pytest.raises(Refused, match=r"is of orchestrator .*, and none of a server"):
            asked.announce(replace(ONE, kind=Kind.ORCHESTRATOR), read_pair(lab, SERVER))
        assert found(asked) == []


def test_registry_shuts_out_a_server_that_was_revoked(uri, lab):
    make_lab(lab, "--server", "127.0.0.1", "--server", "localhost")
    with (
        orchestrator(uri, lab),
        over_tls(uri, lab / "servers" / "127.0.0.1") as stolen,
        over_tls(uri, lab / "servers" / "localhost") as other,
    ):
        by = read_pair(lab / "servers" / "127.0.0.1", SERVER)
        stolen.announce(ONE, by)
        revoke(lab, [identity.server("127.0.0.1")], "", time.time())
        with pytest.raises(Forbidden, match=r"server 127\.0\.0\.1 was revoked"):
            stolen.announce(ONE, by)
        # Nor does it come in by another's hand.
        with pytest.raises(Refused, match=r"server 127\.0\.0\.1 was revoked"):
            other.announce(ONE, by)
        other.announce(OTHER, read_pair(lab / "servers" / "localhost", SERVER))
        assert found(other) == [OTHER.name]


def test_registry_is_not_called_where_certificates_and_note_do_not_go_together(uri, lab):
    with (
        orchestrator(uri),
        over_tls(uri, lab) as asked,
        pytest.raises(ConfigError, match=r'asks for no certificates.*set expert_server\.tls = ""'),
    ):
        found(asked)
    with (
        orchestrator(uri, lab),
        plain(uri) as asked,
        pytest.raises(ConfigError, match=r"asks for certificates; set expert_server\.tls"),
    ):
        found(asked)
    note(uri, "192.0.2.7:7000")
    with plain(uri) as asked, pytest.raises(ConfigError, match="could be reached from other"):
        found(asked)


def test_registry_asks_for_a_certificate_that_names_somebody(uri, lab):
    nameless = authority.for_hosts(read_pair(lab, "ca"), ["127.0.0.1"], time.time(), 3600)
    write_pair(lab, SERVER, nameless)
    with (
        orchestrator(uri, lab),
        over_tls(uri, lab) as asked,
        pytest.raises(ConfigError, match=r"server.crt in .* names nobody.*with --host or --server"),
    ):
        found(asked)


def test_registry_is_called_by_the_renewed_certificate_once_the_former_has_ended(uri, lab):
    ca, gateway = read_pair(lab, "ca"), lab / "gateways" / "web"
    who = identity.gateway("web")
    write_pair(gateway, GATEWAY, authority.for_identity(ca, who, time.time(), 2.0))
    with orchestrator(uri, lab), over_tls(uri, gateway, Who.GATEWAY) as asked:
        assert found(asked) == []
        time.sleep(2.5)
        with pytest.raises(Forbidden, match="has ended"):
            found(asked)
        write_pair(gateway, GATEWAY, authority.for_identity(ca, who, time.time(), 600.0))
        assert found(asked) == []
