"""Published runs that a plan can be held against, with what is known of them and what not.

A model is a :class:`Subject` of its own and settings that stand over those of the file.
"""

from __future__ import annotations

from dataclasses import dataclass

from atoll.errors import BadInput
from atoll.flops import Shape
from atoll.sizes import DITS, MMDITS
from orchestrator.planning.networks import Network, Told, expert, router


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

_CAPTIONS = 256  # tokens of one, as a T5 encoder of 4,096 features gives them

# Source: McAllister et al., Decentralized Diffusion Models (arXiv 2501.05450).
MODELS = {
    "ddm-3b": Model(
        expert=expert(MMDITS["MMDiT-3B"], Told("text", 4096, _CAPTIONS), _LATENTS),
        router=router(DITS["DiT-B/2"], Told("none", 0), _LATENTS, 8),
        settings=(
            "expert.preset=MMDiT-3B",
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
            "width 1920, 12 double and 24 single blocks: FLUX.1's 3072, 19 and 38, made smaller "
            "evenly to 3B; 16 heads of 120, which 8 GPUs can share",
            "images of 512 x 512 as latents of 16 x 64 x 64, patches of 2: 1,024 tokens",
            "captions of 256 tokens, of 4,096 features each; their mean is the caption as a whole",
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
