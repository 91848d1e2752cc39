import math
import sys
from types import SimpleNamespace

import pytest
import torch

from atoll.errors import ConfigError
from experts.deepspeed.starting import grad_norm_of, started


def test_deepspeed_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    monkeypatch.setenv("DS_ACCELERATOR", "")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ConfigError, match=r"not installed; run pip install 'atoll\[deepspeed\]'"):
        started(torch.device("cpu"))


def test_norm_of_a_step_that_was_skipped_lies_on_the_device_of_the_engine():
    engine = SimpleNamespace(device=torch.device("meta"), get_global_grad_norm=lambda: math.inf)
    assert grad_norm_of(engine).device == engine.device
