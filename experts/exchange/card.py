"""The card of an expert: what a person has to know who finds its folder."""

from __future__ import annotations

from typing import Any

from atoll.expert_file import WEIGHTS
from atoll.sizes import in_words, sizes_from
from experts.dialect import OURS, Dialect
from experts.exchange.field import paints_latents
from experts.exchange.model import Model

_IN_CONSOLE = """\
```console
$ atoll sample --expert . --num 4 --out images{flag}
```

"""

_IN_PYTHON = f"""\
In Python, as any velocity field of the linear flow (t = 0 is data, t = 1 noise):

```python
from pathlib import Path

import torch
from experts.exchange.field import expert_of
from experts.exchange.model import read_model
from experts.solvers import integrate

expert = expert_of(read_model(Path("{WEIGHTS}")))
cond = expert.conditioning.null(4, torch.device("cpu"))  # or what the table says, for 4 images
with torch.inference_mode():
    painted = integrate(expert.field, torch.randn(4, *expert.shape), cond, steps=50)
```
"""

_IN_DIFFUSERS = """\
```python
import torch
from diffusers import DiTTransformer2DModel, FlowMatchEulerDiscreteScheduler

network = DiTTransformer2DModel.from_pretrained(".").eval()
{fix}scheduler = FlowMatchEulerDiscreteScheduler()
scheduler.set_timesteps(50)
images, classes = torch.randn(4, {shape}), torch.full((4,), {none})  # of no class: see the table
with torch.inference_mode():
    for t in scheduler.timesteps:  # 1000 for noise, 0 for data
        velocity = network(images, timestep=t.expand(4), class_labels=classes).sample
        images = scheduler.step(velocity, t, images).prev_sample
```
"""

_FIX = """\
for block in network.transformer_blocks:  # the weights are for frequencies over 128, not 127
    block.norm1.emb.time_proj.downscale_freq_shift = 0
"""

_GIVES = {
    "velocity": "the velocity",
    "epsilon": "the noise, on DDPM's schedule ({})",
    "v": "v, on DDPM's schedule ({})",
}

_ROLES = {
    "expert": """\
A diffusion transformer that has learned one cluster of a data set. Of a decentralized model it is
one expert of several, which a router mixes (McAllister et al., arXiv 2501.05450).""",
    "monolith": """\
A diffusion transformer that has learned a whole data set, to be compared with the experts of a
decentralized model (McAllister et al., arXiv 2501.05450).""",
    "": "A diffusion transformer of another program, with its weights under Atoll's names.",
}


def card(model: Model, *, in_diffusers: bool = False) -> str:
    """The card's text, in Markdown with the front matter that model hubs read.

    Args:
        model: what it is of.
        in_diffusers: the folder is for diffusers.
    """
    about, library = model.about, "diffusers" if in_diffusers else "atoll"
    lines = {**_network(model), **{key: str(value) for key, value in about["made"].items()}}
    table = "\n".join(f"| {key.replace('_', ' ')} | {value} |" for key, value in lines.items())
    return f"""---
library_name: {library}
tags: [diffusion, flow-matching]
---

# {about["made"].get("job", about["made"].get("imported from", "an expert"))}

{_ROLES[about.get("role", "")]}

| | |
| --- | --- |
{table}

## Use it

{_in_diffusers(about) if in_diffusers else _in_atoll(about)}
## Licence

None is given here: whoever publishes this model chooses one, and may have to heed that of its data.
"""


def _network(model: Model) -> dict[str, str]:
    about = model.about
    buffers = model.weights["pos_embed"].numel()
    count = sum(part.numel() for part in model.weights.values()) - buffers
    told = about["conditioning"]
    return {
        "network": in_words(sizes_from(about["sizes"])),
        "parameters": f"{count:,}",
        "paints": _painted(about),
        "condition": _condition(**told),
        "gives": _GIVES[about["objective"]].format(about.get("noise_schedule", "linear")),
    }


def _condition(kind: str, size: int, encoder: str = "", tokens: int = 0) -> str:
    if kind == "class":
        return f"one of {size} classes, 0 to {size - 1}; {size} for none"
    each = f" for each of up to {tokens} tokens" if tokens else ""
    return (
        f"text, as {size} features of {encoder}{each}; zeros for none" if kind == "text" else "none"
    )


def _painted(about: dict[str, Any]) -> str:
    size = " x ".join(map(str, about["shape"]))
    latents = about.get("latents")
    if latents is None:
        return size
    return (
        f"{size}, (latent - {latents['shift']:g}) * {latents['scale']:g} of the autoencoder "
        f"{latents['vae']} ({latents['model'][:16]})"
    )


def _in_atoll(about: dict[str, Any]) -> str:
    flag = ""
    if paints_latents(about.get("latents"), about["shape"]):
        flag = f" --set latents.vae={(about.get('latents') or {}).get('vae') or 'AUTOENCODER'}"
    return _IN_CONSOLE.format(flag=flag) + _IN_PYTHON


def _in_diffusers(about: dict[str, Any]) -> str:
    ours = Dialect(**about.get("dialect", {})).divisor == OURS.divisor
    return _IN_DIFFUSERS.format(
        fix=_FIX if ours else "",
        shape=", ".join(str(size) for size in about["shape"]),
        none=about["conditioning"]["size"],
    )
