"""Conditions that callers have told, and need not tell again while there is room for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from atoll.errors import BadInput
from serving.remote.conditions import key_of


class Untold(Exception):
    """A condition was not told, or is kept no more."""


class Conditions:
    """Those of all callers; threads may share it. The one not asked for longest goes first."""

    def __init__(self, most_bytes: float) -> None:
        """Know none.

        Args:
            most_bytes: that they may take.
        """
        self.most_bytes, self._num_bytes = int(most_bytes), 0
        self._lock = threading.Lock()
        self._rows: OrderedDict[bytes, Tensor] = OrderedDict()

    def keep(self, rows: Tensor) -> None:
        """Know some from now on.

        Args:
            rows: (F, ...), as they were told.
        """
        for row in rows:
            kept, key = row.clone(), key_of(row)  # a part would keep all of the message
            with self._lock:
                if key in self._rows:
                    self._rows.move_to_end(key)
                    continue
                self._rows[key] = kept
                self._num_bytes += kept.nbytes
                while self._num_bytes > self.most_bytes:
                    _, gone = self._rows.popitem(last=False)
                    self._num_bytes -= gone.nbytes

    def of(self, keys: Sequence[bytes]) -> Tensor:
        """Conditions by their digests, (B, ...).

        Raises:
            Untold: one of them is not known.
            BadInput: they are of several kinds.
        """
        with self._lock:
            rows = [self._rows.get(key) for key in keys]
            known = [row for row in rows if row is not None]
            if len(known) < len(rows):
                raise Untold(f"{len(rows) - len(known)} conditions are not known; tell them again")
            for key in keys:
                self._rows.move_to_end(key)
        if any((row.shape, row.dtype) != (known[0].shape, known[0].dtype) for row in known):
            raise BadInput("the conditions of one request are of several shapes or types")
        return torch.stack(known)
