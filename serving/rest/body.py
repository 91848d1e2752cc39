"""What a caller sends: OpenAI's fields of an image request, and what else can be asked of a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from atoll.image_size import Size, size_in
from serving.service.menu import MOST_PREVIEWS
from serving.service.order import Order, Priority, Unusable

_MOST = 2**31 - 1

Word = Annotated[str, Field(max_length=200)]
Class = Annotated[int, Field(ge=0, le=_MOST)] | Word


def _in_one_sentence(value: Any, take: ValidatorFunctionWrapHandler) -> Any:
    try:
        return take(value)
    except ValidationError as error:  # a line for each kind it could have been
        raise ValueError(
            "give a class by its name or its number, or a list of up to 100 of them"
        ) from error


Classes = Annotated[
    Class | Annotated[list[Class], Field(max_length=100)] | None, WrapValidator(_in_one_sentence)
]


class Generation(BaseModel):
    """Images to draw. What is left out goes by the run's ``[sampling]``."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    prompt: str = Field("", max_length=32_000, description="a prompt, or a class by name or number")
    class_: Classes = Field(
        None, alias="class", description="classes by name or number; images take them in turn"
    )
    n: int | None = Field(None, ge=1, le=_MOST, description="how many images; 1 if left out")
    size: str | None = Field(
        None,
        pattern=r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$",
        description="one of the model's, or auto",
    )
    response_format: Literal["b64_json", "url"] | None = None
    stream: bool | None = Field(None, description="answer with events while images are drawn")
    partial_images: int | None = Field(
        None,
        ge=0,
        le=MOST_PREVIEWS,
        description="how often each unfinished image is shown, at most",
    )
    model: Word | None = None
    seed: int | None = Field(None, ge=0, le=2**63 - 1, description="of the first image")
    steps: int | None = Field(None, ge=1, le=_MOST, description="of the solver")
    guidance: float | None = Field(None, ge=0, description="classifier-free; 1 is none")
    strategy: Word | None = Field(None, description="how experts are selected, e.g. top-2")
    solver: Word | None = None
    priority: Priority | None = None
    deadline_s: float | None = Field(
        None, gt=0, description="after which the images are of no use any more"
    )
    exact: bool | None = Field(
        None,
        description="fail (503) where an expert cannot be had, rather than draw by the others",
    )
    # What other models draw differently by; here it is one and the same.
    output_format: Literal["png"] | None = None
    output_compression: int | None = Field(None, ge=0, le=100, description="of a PNG none is lost")
    background: Literal["auto", "opaque"] | None = None
    quality: Word | None = None
    style: Word | None = None
    moderation: Word | None = None
    user: Word | None = None
    safety_identifier: Word | None = None

    def order(self) -> Order:
        """The same in the service's words. Raises: Unusable for what contradicts itself."""
        if self.stream and self.response_format == "url":
            raise Unusable(
                'events carry images as b64_json; leave out "stream" for urls', "response_format"
            )
        return Order(
            wanted=self._wanted(),
            num=self.n or 1,
            seed=self.seed,
            size=self._size(),
            solver=self.solver,
            steps=self.steps,
            guidance=self.guidance,
            strategy=self.strategy,
            previews=self.partial_images or 0,
            priority=self.priority or "normal",
            deadline_s=self.deadline_s,
            exact=self.exact or False,
        )

    def name_of(self, field: str) -> str:
        """What a field of the order is called here."""
        wanted = "prompt" if self.prompt else "class"
        return wanted if field == "wanted" else field

    def _wanted(self) -> tuple[str, ...]:
        classes: Any = [] if self.class_ is None else self.class_
        wanted = tuple(map(str, classes if isinstance(classes, list) else [classes]))
        if wanted and self.prompt:
            raise Unusable(
                'prompt and class are both given; leave out one of them, or set it to ""', "class"
            )
        return (self.prompt,) if self.prompt else wanted

    def _size(self) -> Size | None:
        return None if self.size in {None, "auto"} else size_in(self.size)
