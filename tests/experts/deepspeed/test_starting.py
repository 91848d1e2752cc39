import sys

import pytest
import torch

from atoll.errors import ConfigError
from experts.deepspeed.starting import started


def test_deepspeed_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    monkeypatch.setenv("DS_ACCELERATOR", "")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ConfigError, match=r"not installed; run pip install 'atoll\[deepspeed\]'"):
        started(torch.device("cpu"))
