"""How long a loop of diffusers takes for the same requests, with the weights of one expert."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import peer
import torch
from safetensors.torch import save_file
from ways import Drawn

from experts.dit import DiT
from serving.engine.request import Request


def diffusers_s(drawn: Drawn, requests: Sequence[Request], python: Path) -> list[float] | None:
    """Seconds for each request; None, with a word to the user, if it fails."""
    expert = drawn.experts[0]
    assert isinstance(expert, DiT)
    about = {
        "heads": expert.sizes.heads,
        "depth": expert.sizes.depth,
        "width": expert.sizes.width,
        "patch": expert.sizes.patch,
        "shape": drawn.shape,
        "classes": drawn.conditioning.size,
        "requests": [_as_json(request) for request in requests],
    }
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "about.json").write_text(json.dumps(about))
        save_file(expert.state_dict(), Path(folder, "weights.safetensors"))
        save_file(_example(expert, drawn), Path(folder, "example.safetensors"))
        found = peer.answer(python, "diffusers_loop.py", folder)
    return found and [float(seconds) for seconds in found]


def _as_json(request: Request) -> dict[str, float]:
    assert request.cond is not None
    sampling = request.sampling
    of_one = {"class": int(request.cond), "steps": sampling.steps, "guidance": sampling.guidance}
    return {**of_one, "seed": request.seeds[0]}


@torch.inference_mode()
def _example(expert: DiT, drawn: Drawn) -> dict[str, torch.Tensor]:
    """Inputs, and what the expert makes of them: the peer makes sure that it computes the same."""
    x = torch.randn(4, *drawn.shape, generator=torch.Generator().manual_seed(0))
    t, cond = torch.tensor([1.0, 0.7, 0.4, 0.1]), torch.tensor([0, 1, 2, drawn.conditioning.size])
    return {"x": x, "t": t, "cond": cond, "velocity": expert(x, t, cond)}
