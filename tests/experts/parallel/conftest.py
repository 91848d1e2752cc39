import pytest

from tests import ranks


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two processes."""
    with ranks.ranks(2, tmp_path_factory.mktemp("pair")) as group:
        yield group


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """Four processes."""
    with ranks.ranks(4, tmp_path_factory.mktemp("four")) as group:
        yield group
