"""What an image is built from: the files that .containerignore lets into its context."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
RULES = (TOP / ".containerignore").read_text().splitlines()
LET_IN = [TOP / rule.removeprefix("!") for rule in RULES if rule.startswith("!")]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def is_let_in(path: Path) -> bool:
    return any(path.is_relative_to(each) for each in LET_IN)


def test_image_context_has_nothing_but_what_is_let_in():
    assert RULES[0] == "*"
    assert [each for each in LET_IN if not each.exists()] == []


@pytest.mark.parametrize("name", [*PACKAGES, "pyproject.toml", PROJECT["project"]["readme"]])
def test_image_context_has_what_the_wheel_is_built_from(name):
    assert is_let_in(TOP / name)


def test_image_context_has_what_symbolic_links_of_packages_lead_to():
    links = [path for name in PACKAGES for path in (TOP / name).rglob("*") if path.is_symlink()]
    assert links
    assert [link for link in links if not is_let_in(link.resolve())] == []
