"""Runs whose islands and operators show certificates, as real processes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from atoll.control import ControlClient
from atoll.credentials import operator_credentials
from atoll.errors import ConfigError, Forbidden, Unreachable
from orchestrator.connect import attach
from orchestrator.endpoint import Endpoint
from tests.integration.runs import make_certificates

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def make_secured(make_run, tmp_path, own_address):
    """Makes runs that listen at an address or on loopback, with certificates."""
    folder = tmp_path / "tls"
    make_certificates(folder, "--host", own_address)

    def make(host: str = own_address, **settings):
        keys = [f"orchestrator.listen={host}:0", f"orchestrator.tls={folder}"]
        return make_run("run", overrides=keys, **settings)

    return make


def secrets_of(tmp_path: Path) -> set[str]:
    """A line of every private key that lies about, tokens' included."""
    keys = re.compile(r"-----BEGIN PRIVATE KEY-----\n(.+)\n")
    files = [path for path in tmp_path.rglob("*") if path.suffix in {".key", ".pem"}]
    return {secret for path in files for secret in keys.findall(path.read_text())}


def test_run_beyond_loopback_completes_and_shows_no_secret(
    make_secured, own_address, until, undisturbed, tmp_path
):
    run = make_secured(steps=200)
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    endpoint = Endpoint.read(run.folder())
    assert endpoint.address.startswith(f"{own_address}:")
    assert run.listening() == {own_address}
    secrets = secrets_of(tmp_path)
    assert len(secrets) == 5  # the authority's, the server's, the operator's, two tokens'
    shown = "".join(f"{process.cmdline()} {process.environ()}" for process in run.processes())
    with ControlClient(endpoint.address, endpoint.run) as plain, pytest.raises(Unreachable):
        plain.fleet()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    run.wait_for_its_end()  # until then checkpoints may go
    for path in run.uri.rglob("*"):
        if path.is_file() and path.suffix != ".pem":
            shown += path.read_bytes().decode(errors="replace")
    assert "joined" in run.agent_log("island-1")
    assert not [secret for secret in secrets if secret in shown + told]


def test_run_on_loopback_with_certificates_outlives_its_orchestrator(
    make_secured, until, undisturbed
):
    run = make_secured("127.0.0.1", steps=200)
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10 and run.committed("expert-1") >= 10)
    run.orchestrator().kill()
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    assert {ref.epoch for ref in run.results().values()} == {1}


def test_run_with_certificates_tells_who_has_none_what_to_set(make_secured, until):
    run = make_secured("127.0.0.1", steps=5000)
    run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    secured, run.overrides = run.overrides, []
    with pytest.raises(ConfigError, match=r"set orchestrator\.tls to the folder"):
        attach(run.config)
    run.overrides = secured
    assert "expert-0" in run.atoll("status")


def test_run_beyond_loopback_without_certificates_is_refused(make_run):
    run = make_run("run", overrides=["orchestrator.listen=0.0.0.0:0"])
    called = run.call("status")
    assert called.returncode == 2
    assert "orchestrator.tls" in called.stderr
    assert "atoll certs" in called.stderr


def test_run_whose_island_is_revoked_goes_on_without_it(make_secured, until, undisturbed):
    run = make_secured("127.0.0.1", steps=150, options="--step-s 0.05 --every 10")
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    stolen = run.jobs()["expert-0"].island
    agent = run.agent(stolen)
    told = run.atoll("revoke", "--island", stolen, "-m", "node stolen")
    assert stolen in told
    until(lambda: run.jobs()["expert-0"].island not in {stolen, ""})
    until(lambda: not agent.is_running())
    assert f"{stolen} was revoked" in run.agent_log(stolen)
    told = run.finish(launcher)
    assert launcher.returncode == 0, told
    assert run.weights() == undisturbed(run)
    (gone,) = (event for event in run.events() if event.kind == "island-gone")
    assert gone.reason == f"{stolen} is gone: {stolen} was revoked: node stolen"
    assert run.results()["expert-0"].epoch == 2


def test_run_shuts_out_a_revoked_operator_now_and_after_a_restart(make_secured, until, tmp_path):
    run = make_secured("127.0.0.1", steps=5000)
    launcher = run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    folder = tmp_path / "tls"
    make_certificates(folder, "--operator", "eve")

    def as_eve() -> None:
        endpoint = Endpoint.read(run.folder())
        credentials = operator_credentials(folder / "operators" / "eve")
        with ControlClient(endpoint.address, endpoint.run, credentials) as eve:
            eve.fleet()

    as_eve()
    run.atoll("revoke", "--operator", "eve")
    with pytest.raises(Forbidden, match="operator eve was revoked"):
        as_eve()
    first = run.orchestrator()
    first.kill()
    until(lambda: run.jobs() and run.orchestrator().pid != first.pid)
    with pytest.raises(Forbidden, match="operator eve was revoked"):
        as_eve()
    launcher.kill()


def test_run_takes_a_renewed_certificate_while_it_works(make_secured, own_address, until, tmp_path):
    run = make_secured("127.0.0.1", steps=5000)
    run.launch()
    until(lambda: run.committed("expert-0") >= 10)
    make_certificates(tmp_path / "tls", "--host", own_address)
    run.detach()
    before = run.committed("expert-0")  # over a new connection
    assert "serves with a renewed certificate" in (run.folder() / "orchestrator.log").read_text()
    until(lambda: run.committed("expert-0") > before)
    assert {job.epoch for job in run.jobs().values()} == {1}
