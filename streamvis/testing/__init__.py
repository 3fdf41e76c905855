"""Contract suites for plugin authors: subclass one, say how to make the thing, and pytest runs every promise.

Need pytest. The suites of this package's own parts are these same classes.
"""

from __future__ import annotations

from streamvis.testing.arrays import ArrayContract
from streamvis.testing.stores import (
    COLUMNS,
    StoreContract,
    StoreStream,
    append,
    loss,
    pages,
    points,
    read,
    series,
)

__all__ = [
    "COLUMNS",
    "ArrayContract",
    "StoreContract",
    "StoreStream",
    "append",
    "loss",
    "pages",
    "points",
    "read",
    "series",
]
