import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from partition.cli import partition

app = typer.Typer()
app.command()(partition)


def invoke(tmp_path: Path, *flags: str) -> tuple[str, str]:
    settings = (f"run.uri={tmp_path}/run", "partition.num_experts=3", "partition.num_fine=12")
    result = CliRunner().invoke(app, [*(f"--set={item}" for item in settings), *flags])
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_partition_shows_its_clusters_then_says_it_is_done(tmp_path: Path) -> None:
    rows = json.loads(invoke(tmp_path, "--json")[0])
    assert [row["cluster"] for row in rows] == [0, 1, 2]
    assert [row["samples"] for row in rows] == [599, 599, 599]
    assert all(row["share"] == "33.3%" and row["bytes"] > 599 * 1024 for row in rows)
    table, said = invoke(tmp_path)
    assert "1,797 samples in 3 clusters" in table
    assert "already partitioned" in said
    assert f"{tmp_path}/run/partition/montage.png" in said


def test_partition_of_unknown_key_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="1"):
        invoke(tmp_path, "--set=partition.experts=3")
