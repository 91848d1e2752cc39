import pytest

from tests.experts.deepspeed.nest import nest


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """Two processes, and four, by their number."""
    pytest.importorskip("deepspeed", reason="pip install 'atoll[deepspeed]'")
    with nest(tmp_path_factory.mktemp("nest"), 2, 4) as groups:
        yield dict(zip((2, 4), groups, strict=True))
