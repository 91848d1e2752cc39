"""Commands as a user types them, without a process for each."""

from __future__ import annotations

import pytest

from atoll.__main__ import main


@pytest.fixture
def atoll(capsys):
    """Runs a command; returns its exit code and what it told."""

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        output = capsys.readouterr()
        return ended.value.code, output.out, output.err

    return call
