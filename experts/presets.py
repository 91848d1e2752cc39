"""The named sizes of DiT.

Source: Peebles & Xie, Scalable Diffusion Models with Transformers (arXiv 2212.09748), table 1.
"""

from __future__ import annotations

from atoll.config import ExpertSection
from atoll.errors import ConfigError
from experts.dit import Sizes

_BODIES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}

PRESETS = {
    f"DiT-{name}/{patch}": Sizes(width, depth, heads, patch)
    for name, (width, depth, heads) in _BODIES.items()
    for patch in (2, 4, 8)
}


def sizes_of(section: ExpertSection) -> Sizes:
    """The sizes a configuration asks for: those of its preset, or its own.

    Raises:
        ConfigError: there is no such preset; lists those there are.
    """
    if section.preset is None:
        return Sizes(section.width, section.depth, section.heads, section.patch)
    if section.preset not in PRESETS:
        raise ConfigError(
            f'expert.preset = "{section.preset}" is not known; there are {", ".join(PRESETS)}'
        )
    return PRESETS[section.preset]
