"""What the doctor says of providers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from typer import Typer
from typer.testing import CliRunner

from atoll.errors import BadInput
from atoll.island_section import ProviderName
from cluster.doctor import doctor, troubles_of

DOCS = Path(__file__).parents[2] / "docs"
TABLES = Path(__file__).parents[2] / "cluster" / "troubles"


@pytest.mark.parametrize("provider", get_args(ProviderName))
def test_doctor_has_the_table_of_each_providers_page(provider):
    assert (TABLES / f"{provider}.md").read_text() in (DOCS / f"{provider}.md").read_text()
    for row in troubles_of(provider):
        assert list(row) == ["symptom", "cause", "mend"]
        assert all(row.values())


def called(*words: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    app = Typer()
    app.command()(doctor)
    done = CliRunner().invoke(app, [*words, "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_doctor_asks_a_provider_whether_it_takes_an_island(slurm, tmp_path):
    place = f"run.uri={tmp_path / 'run'}"
    code, told = called("--provider", "slurm", "--set", place)
    assert (code, told["findings"][0]["verdict"]) == (0, "ok")
    assert "on this machine" in told["findings"][0]["found"]
    code, told = called("--provider", "slurm", "--set", place, "--set", "slurm.partition=nowhere")
    assert (code, told["findings"][0]["verdict"]) == (1, "missing")
    assert "Slurm takes no such job" in told["findings"][0]["found"]
    symptoms = [row["symptom"] for row in told["troubles"]]
    assert any("Slurm takes no such job: … Invalid partition" in words for words in symptoms)
    assert not (tmp_path / "run").exists()


def test_doctor_asks_a_cluster_whether_it_takes_an_island(kubernetes, tmp_path, monkeypatch):
    wanted = ["image=atoll:test", "namespace=atoll", f'claims={{shared="{tmp_path}"}}']
    settings = [f"run.uri={tmp_path / 'run'}", *(f"kubernetes.{each}" for each in wanted)]
    heard = ["orchestrator.tls=tls", "orchestrator.listen=0.0.0.0:7000"]
    unheard = ["--provider", "kubernetes", *(w for each in settings for w in ("--set", each))]
    asked = [*unheard, *(w for each in heard for w in ("--set", each))]
    code, told = called(*unheard)
    assert (code, told["findings"][0]["verdict"]) == (1, "missing")
    assert "is heard on this machine alone" in told["findings"][0]["found"]
    code, told = called(*asked)
    assert (code, told["findings"][0]["verdict"]) == (0, "ok")
    assert "on other machines" in told["findings"][0]["found"]
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    code, told = called(*asked)
    assert (code, told["findings"][0]["verdict"]) == (1, "missing")
    assert "no cluster is known here" in told["findings"][0]["found"]
    assert any("no cluster is known" in row["symptom"] for row in told["troubles"])


def test_doctor_of_an_unknown_provider_names_those_there_are():
    with pytest.raises(BadInput, match="'aws' is not known; there are local, slurm"):
        doctor(provider="aws")
