"""Keys of the configuration file that another key leaves without effect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

ANY = object()  # whatever differs from what stands there by default


def refuse_idle(section: BaseModel, used_with: Mapping[str, tuple[str, tuple[Any, ...]]]) -> None:
    """Refuse a key that was set, and that nothing would read.

    Whoever set it believes that it does something, and the run would be told apart by it for good.

    Args:
        section: validated; what has its default counts as not set.
        used_with: for each such key, the key it depends on, and the values with which it is read;
            :data:`ANY` alone for all but that key's default.

    Raises:
        ValueError: names both keys, and the mend.
    """
    for key, (other, values) in used_with.items():
        value, chosen = getattr(section, key), getattr(section, other)
        is_read = chosen != _default(section, other) if values == (ANY,) else chosen in values
        if value != _default(section, key) and not is_read:
            if values == (None,):
                mend = "leave one of them out"
            elif values == (ANY,):
                mend = f"leave it out, or set {other}"
            else:
                shown = " or ".join(_shown(each) for each in values)
                mend = f"leave it out, or set {other} to {shown}"
            told = f"{other} = {_shown(chosen)}" if chosen is not None else f"no {other}"
            raise ValueError(f"{key} = {_shown(value)} has no effect with {told}; {mend}")


def _default(section: BaseModel, key: str) -> Any:
    return type(section).model_fields[key].default


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump()
    return json.dumps(value, ensure_ascii=False)
