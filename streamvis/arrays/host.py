"""Arrays that live in the host's memory: numpy, sequences of numbers, anything with `__array__`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streamvis.columns import Array
from streamvis.errors import DtypeError


class HostAdapter:
    """Copies at the call: callers reuse their buffers."""

    name = "numpy"

    def accepts(self, kind: type) -> bool:
        """Whether numpy makes an array of it on the host."""
        return issubclass(kind, (np.ndarray, np.generic, int, float, list, tuple, range)) or hasattr(kind, "__array__")

    def snapshot(self, value: Any) -> Array:
        """A copy. Raises DtypeError when numpy cannot make an array of it."""
        try:
            return np.array(value, copy=True, order="C")
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise DtypeError(f"cannot store a {type(value).__name__} as a column: {error}") from error

    def transfer(self, snapshots: Sequence[Array]) -> list[Array]:
        """They are on the host already."""
        return list(snapshots)
