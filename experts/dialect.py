"""What networks of other programs compute otherwise than ours, with weights of equal names.

==================== ================= ========= ========= =============================
where                how a time enters times run exponent  epsilon of the norm before an
                                                 over      MLP
==================== ================= ========= ========= =============================
here, facebook's DiT 1000 t, a step    to noise  128       1e-6
diffusers' DiT       a step            to noise  127       1e-5, ``norm_eps``
SiT                  as it is          to data   128       1e-6
==================== ================= ========= ========= =============================
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a DiT computes what its weights do not tell.

    Attributes:
        scale: the time is embedded as ``offset + scale * t``.
        offset: see ``scale``.
        divisor: of the exponent of the embedding's frequencies.
        mlp_eps: of the norm before a block's MLP.
    """

    scale: float = 1000.0
    offset: float = 0.0
    divisor: int = 128
    mlp_eps: float = 1e-6

    @property
    def told(self) -> dict[str, float | int]:
        """What is unlike ours, by name: nothing in the checkpoints of a network begun here."""
        ours = asdict(OURS)
        return {name: value for name, value in asdict(self).items() if value != ours[name]}


OURS = Dialect()
DIFFUSERS = Dialect(divisor=127, mlp_eps=1e-5)
SIT = Dialect(scale=-1.0, offset=1.0)
