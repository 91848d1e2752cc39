"""What is planned: the networks of a run, and its data as far as they are known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from atoll.config import Config
from atoll.errors import BadInput
from atoll.fit import refuse_patches, size_key
from atoll.image_size import name_of
from atoll.sizes import Sizes
from orchestrator.planning.latents import places_of
from orchestrator.planning.networks import Network, Told, expert, router

_DIGITS = {"size": 8, "channels": 1, "classes": 10, "samples": 1797}


@dataclass(frozen=True, slots=True)
class Data:
    """What the flags tell of the data, which a plan does not open; None is not told.

    Attributes:
        size: side of an image in pixels; else that of ``data.size``.
        channels: of an image.
        classes: of its labels.
        samples: images in the data set.
        sample_bytes: of one in a shard.
        caption_tokens: of its caption, of which each is attended to; else those of
            ``captions.tokens``.
    """

    size: int | None = None
    channels: int | None = None
    classes: int | None = None
    samples: int | None = None
    sample_bytes: float | None = None
    caption_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is planned.

    Attributes:
        expert: one of the experts; the monolith is as large.
        router: the router.
        data_bytes: of all shards; None if it is not known.
        assumed: sentences.
    """

    expert: Network
    router: Network
    data_bytes: float | None
    assumed: tuple[str, ...]


def subject_of(config: Config, told: Data) -> Subject:
    """The networks that ``[expert]`` and ``[router]`` describe.

    Raises:
        BadInput: the images' size is not known, or does not go into patches; or the network has no
            use for a caption's tokens; names the key.
    """
    digits = config.data.source == "digits"
    known = _DIGITS if digits else {}
    sizes, key = _sizes(config, told.size, known.get("size"))
    places = places_of(config.latents)
    factor = 1 if places is None else places.factor
    for rows, columns in sizes:
        if rows % factor or columns % factor:
            raise BadInput(
                f"latents.vae makes one place of {factor} x {factor} pixels, which does not divide "
                f"images of {name_of(rows, columns)}; set {key} to a multiple of {factor}"
            )
        refuse_patches(config, rows // factor, columns // factor, factor=factor, sides=key)
    height, width = sizes[0]
    channels = told.channels or known.get("channels", 3)
    classes = told.classes or known.get("classes", 1000)
    samples = told.samples or known.get("samples")
    condition = Told("none", 0)
    assumed = [f"images of {channels} x {height} x {width}"]
    if config.expert.condition == "class":
        condition = Told("class", classes)
        assumed[0] += f" in {classes:,} classes"
    elif config.expert.condition == "text":
        tokens = told.caption_tokens or config.captions.tokens
        condition = Told("text", config.captions.dims, tokens)
        if config.captions.encoder != "ngrams":
            assumed.append(f"vectors of captions.dims = {config.captions.dims:,}")
    if len(sizes) > 1:
        assumed.append("all images of the size of the first of data.buckets")
    if told.caption_tokens:
        network = config.expert.sizes
        if condition.kind != "text" or (isinstance(network, Sizes) and not network.cross_attention):
            raise BadInput(
                "--caption-tokens is for a network that attends to captions: an MMDiT, or a DiT "
                'with expert.cross_attention, and expert.condition = "text"; leave it out'
            )
        assumed.append(f"captions of {told.caption_tokens:,} tokens")
    shape = (channels, height, width)
    sample_bytes = told.sample_bytes or math.prod(shape)
    if places is not None:
        assumed.append(places.assumed)
        shape = (places.channels, height // factor, width // factor)
        sample_bytes = told.sample_bytes or math.prod(shape) * places.sample_bytes
    seen = condition if config.router.condition else Told("none", 0)
    if samples is None:
        assumed.append("the number of samples is not known: give --samples for the shards' bytes")
    elif told.sample_bytes is None:
        kind = "pixels" if places is None else config.latents.kind
        assumed.append(f"{sample_bytes:,} bytes to a sample: its {kind} as they are")
    return Subject(
        expert=expert(config.expert.sizes, condition, shape, config.training.routing),
        router=router(config.router.sizes, seen, shape, config.partition.num_experts),
        data_bytes=None if samples is None else samples * sample_bytes,
        assumed=tuple(assumed),
    )


def _sizes(
    config: Config, told: int | None, known: int | None
) -> tuple[tuple[tuple[int, int], ...], str]:
    """Heights and widths of images, in pixels, and what says so; the first is planned with."""
    if told is not None:
        return ((told, told),), "--size"
    if config.data.buckets is not None:
        return config.data.buckets, size_key(config)
    size = config.data.size or known
    if size is None:
        raise BadInput(
            "neither data.size nor data.buckets is set, and a plan does not open the data; set one "
            "of them, or give --size"
        )
    return ((size, size),), size_key(config)
