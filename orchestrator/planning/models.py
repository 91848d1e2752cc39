"""Published runs that a plan can be held against, with what is known of them and what not.

A model is a :class:`Subject` of its own and settings that stand over those of the file.
"""

from __future__ import annotations

from dataclasses import dataclass

from atoll.errors import BadInput
from atoll.flops import Shape
from atoll.sizes import PRESETS
from orchestrator.planning.mmdit import MMDiT
from orchestrator.planning.networks import Network, Told, router


@dataclass(frozen=True, slots=True)
class Model:
    """A published run.

    Attributes:
        expert: one of its experts.
        router: its router.
        settings: as ``--set`` takes them; they stand over the file's, and ``--set`` over them.
        gpu: taken if ``--gpu`` names none.
        days: what one expert took, as published.
        said: what the paper says of it.
        assumed: what we know of no word in it about, and chose.
    """

    expert: Network
    router: Network
    settings: tuple[str, ...]
    gpu: str
    days: float
    said: tuple[str, ...]
    assumed: tuple[str, ...]


_LATENTS: Shape = (16, 64, 64)  # of 512 x 512 pixels, as the autoencoder of FLUX.1 gives them

# FLUX.1 (width 3072, 19 double and 38 single blocks, 11.9B) made smaller evenly: depth and width
# each by the cube root of 3 / 11.9 = 0.63, with heads of 128 as they were.
_DDM_3B = MMDiT(
    width=1920,
    heads=15,
    num_double=12,
    num_single=24,
    num_pixels=16 * 2**2,
    image_tokens=32 * 32,
    text_tokens=256,
)

# Source: McAllister et al., Decentralized Diffusion Models (arXiv 2501.05450).
MODELS = {
    "ddm-3b": Model(
        expert=_DDM_3B.network,
        router=router(PRESETS["DiT-B/2"], Told("none", 0), _LATENTS, 8),
        settings=(
            "partition.num_experts=8",
            "partition.num_fine=1024",
            "training.steps=1000000",
            "training.batch_size=1024",
            "training.accumulation=2",
            "training.precision=bf16",
            "training.checkpoint_every_steps=4000",
            "island.count=8",
            "island.processes=8",
            "router.steps=1000000",
            "router.batch_size=1024",
            "evaluation.monolith=false",
        ),
        gpu="H100",
        days=6.5,
        said=(
            "8 experts of 3B parameters, a FLUX-like MMDiT",
            "each on one node of 8 GPUs",
            "1M steps in about 6.5 days",
        ),
        assumed=(
            "width 1920, heads of 128, 12 double and 24 single blocks: FLUX.1's 3072, 19 and 38, "
            "made smaller evenly to 3B",
            "images of 512 x 512 as latents of 16 x 64 x 64, patches of 2: 1,024 tokens",
            "captions of 256 tokens",
            "if --set says nothing else: batch 1,024 over all experts, that of the paper's LAION "
            "runs, so 128 for each, in two parts because 16 images at once would not fit 80 GB",
            "blocks keep for the backward pass what those of a DiT with as many tokens do",
            "if --gpu says nothing else: H100",
            "latents and caption embeddings made beforehand: no encoder runs while training",
            "a router like the DiT-B/2 of the paper's ImageNet runs, for as many steps and images",
        ),
    ),
}


def model_named(name: str) -> Model:
    """The published run of this name.

    Raises:
        BadInput: there is none in the table.
    """
    if name not in MODELS:
        raise BadInput(f"--model {name} is not known; there is {', '.join(MODELS)}")
    return MODELS[name]
