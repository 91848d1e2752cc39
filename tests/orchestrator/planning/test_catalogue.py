"""Prices from SkyPilot's catalogue, in the shape in which SkyPilot 0.14.1 prints them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from atoll.errors import BadInput
from orchestrator.planning.catalogue import catalogue_offers
from orchestrator.planning.prices import Price


def row(cloud: str, region: str, price: float, spot_price: float | None) -> dict[str, object]:
    return {
        "cloud": cloud,
        "instance_type": "p5.48xlarge",
        "accelerator_name": "A100-80GB",
        "accelerator_count": 8.0,
        "cpu_count": 192.0,
        "device_memory": 80.0,
        "memory": 2048.0,
        "price": price,
        "spot_price": spot_price,
        "region": region,
    }


def program(folder: Path, answer: str) -> str:
    path = folder / "sky"
    path.write_text(f"#!/bin/sh\necho \"$*\" >{folder}/asked\ncat <<'END'\n{answer}\nEND\n")
    path.chmod(0o755)
    return str(path)


def test_catalogue_gives_the_lowest_prices_of_each_cloud(tmp_path):
    rows = [
        row("AWS", "us-east-1", 98.3, 33.0),
        row("AWS", "us-west-2", 95.0, float("nan")),
        row("Lambda", "anywhere", 23.9, float("nan")),
    ]
    sky = program(tmp_path, "Updating catalog…\n" + json.dumps({"A100-80GB": rows}))
    assert catalogue_offers(sky, "A100-80", 8) == (
        Price(provider="skypilot/aws", gpu="A100-80", gpus=8, on_demand=95.0, spot=33.0),
        Price(provider="skypilot/lambda", gpu="A100-80", gpus=8, on_demand=23.9),
    )
    assert (tmp_path / "asked").read_text() == "gpus list A100-80GB:8 --output json\n"


def test_catalogue_without_such_a_node_is_told(tmp_path):
    with pytest.raises(BadInput, match="--prices skypilot: its catalogue has no node of 3 x T4"):
        catalogue_offers(program(tmp_path, "{}"), "T4", 3)


def test_catalogue_of_a_program_that_is_not_there_is_told():
    with pytest.raises(BadInput, match=r"--prices skypilot: .*/no/sky.*see skypilot\.command"):
        catalogue_offers("/no/sky", "H100", 8)
