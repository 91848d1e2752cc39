"""What the doctor says of a machine that does not answer as it should."""

from pathlib import Path

import pytest

from atoll import doctor


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
