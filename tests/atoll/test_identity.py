"""Names in certificates."""

from __future__ import annotations

import pytest

from atoll import identity
from atoll.identity import Identity, Kind


@pytest.mark.parametrize(
    "who",
    [
        identity.operator("alice"),
        identity.island("0f" * 16, "island-1"),
        identity.island("run", "island-1", "node-0"),
        identity.joining("run", "island-1"),
        identity.joining("run"),
    ],
)
def test_identity_in_a_uri_comes_back(who: Identity) -> None:
    assert Identity.parse(who.uri) == who


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "atoll://run/island/",
        "atoll://run/island/*",
        "atoll://run/operator/*",
        "atoll://run/root/a",
        "atoll://run/island/a/b/c",
        "atoll://run/island/a/*",
        "atoll://run/operator/a/b",
        "atoll://run/join/a/b",
        "atoll://run/island/a\n",
        "https://run/island/a",
        "atoll://run/island/é",
    ],
)
def test_identity_of_another_uri_is_nobody(uri: str) -> None:
    assert Identity.parse(uri) is None


@pytest.mark.parametrize("name", ["", "*", "a/b", "../a", "a b", "-a", "a" * 64, "a\n"])
def test_identity_with_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name; use"):
        identity.island("run", name)


def test_identity_may_be_only_the_island_it_names() -> None:
    assert identity.island("run", "a").may_be("a")
    assert not identity.island("run", "a").may_be("b")
    assert identity.joining("run", "a").may_be("a")
    assert not identity.joining("run", "a").may_be("b")
    assert identity.joining("run").may_be("b")
    assert not Identity(Kind.OPERATOR, "lab", "a").may_be("a")


def test_identity_of_a_node_may_be_that_node_alone() -> None:
    node = identity.island("run", "island-3", "node-1")
    assert node.may_be("island-3", "node-1")
    assert not node.may_be("island-3", "node-0")
    assert not node.may_be("island-3")
    assert not identity.island("run", "island-3").may_be("island-3", "node-1")
    assert identity.joining("run", "island-3").may_be("island-3", "node-1")


def test_identity_of_a_node_is_shut_out_with_its_island() -> None:
    node = identity.island("run", "island-3", "node-1")
    assert identity.island("run", "island-3").uri in node.shut_out_as("island-3")


def test_join_token_of_an_island_serves_its_later_starts_too() -> None:
    token = identity.joining("run", "island-3")
    assert token.may_be("island-3")
    assert token.may_be("island-3.2")
    for other in ("island-31", "island-3.x", "island-3.2.1", "island-2", "xisland-3.1"):
        assert not token.may_be(other)
    assert not identity.island("run", "island-3").may_be("island-3.1")
