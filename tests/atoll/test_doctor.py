"""What the doctor says of a machine that does not answer as it should."""

import socket
import time
from pathlib import Path

import pytest

from atoll import authority, doctor, identity
from atoll.config_file import read_config
from atoll.credentials import OPERATOR, write_pair


def test_doctor_whose_probe_hangs_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PROBE", "import time; time.sleep(1000)")
    monkeypatch.setattr(doctor, "_PROBE_S", 0.1)
    (finding,) = doctor._torch()
    assert (finding["what"], finding["verdict"]) == ("torch", "missing")
    assert finding["found"] == "does not come up within 0.1 s"


def test_doctor_asks_the_installed_torch_and_no_file_beside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('not the real one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_PROBE", "import torch; raise SystemExit(torch.__file__)")
    (finding,) = doctor._torch()
    assert finding["found"].endswith("torch/__init__.py")


def test_doctor_tries_the_place_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert doctor._place(tmp_path / "run", tmp_path)["verdict"] != "missing"
    for place in (tmp_path / "file", Path("/proc")):
        finding = doctor._place(place / "run", place)
        assert (finding["what"], finding["verdict"]) == ("run.uri", "missing")
        assert "cannot be written" in finding["found"]


def test_doctor_tries_the_address_of_the_orchestrator() -> None:
    assert list(doctor._address("orchestrator.listen", "127.0.0.1:0")) == []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        (finding,) = doctor._address("orchestrator.web", listen)
        assert (finding["what"], finding["verdict"]) == ("orchestrator.web", "missing")
    (finding,) = doctor._address("orchestrator.listen", listen)
    assert finding["verdict"] == "ok"


def test_doctor_misses_the_path_of_data_that_need_one() -> None:
    config = read_config(None, ["data.source=npz"])
    findings = {finding["what"]: finding for finding in doctor._configuration(config)}
    assert findings["data.path"]["verdict"] == "missing"


def test_doctor_tries_the_database(postgres) -> None:
    url = postgres.new_database()
    assert doctor._database(url)["verdict"] == "ok"
    assert doctor._database(url.replace("+psycopg", ""))["verdict"] == "ok"
    finding = doctor._database(f"{url}_never_made")
    assert (finding["what"], finding["verdict"]) == ("orchestrator.database", "missing")
    assert "does not exist" in finding["found"]
    refused = doctor._database(url.replace("://atoll@", "://atoll:shown-nowhere@"))
    assert "password authentication failed" in refused["found"]
    assert "shown-nowhere" not in str(refused)


def test_doctor_tries_the_bucket_of_the_run(bucket: str) -> None:
    assert doctor._store(f"{bucket}/run")["verdict"] == "ok"
    for uri in (f"{bucket}-never-made/run", "no-such-scheme://x"):
        finding = doctor._store(uri)
        assert (finding["what"], finding["verdict"]) == ("run.uri", "missing")


def test_doctor_looks_at_the_certificates_a_command_would_show(tmp_path: Path) -> None:
    ca = authority.new_authority(time.time(), 100)
    for seconds, verdict in ((1000, "ok"), (50, "missing")):
        alice = authority.for_identity(ca, identity.operator("alice"), time.time() - 100, seconds)
        write_pair(tmp_path, OPERATOR, alice)
        assert doctor._certificates(tmp_path)["verdict"] == verdict
    assert "does not exist" in doctor._certificates(tmp_path / "nowhere")["found"]
