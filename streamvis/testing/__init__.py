"""Contract suites for plugin authors: subclass one, say how to make the thing, and pytest runs every promise.

Need pytest. The suites of this package's own parts are these same classes.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("arrays", "loggers", "stores")))

from streamvis.testing.arrays import ArrayContract  # noqa: E402 - after the line above, which makes failures tell values
from streamvis.testing.loggers import LoggerContract  # noqa: E402
from streamvis.testing.stores import (  # noqa: E402
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
    "LoggerContract",
    "StoreContract",
    "StoreStream",
    "append",
    "loss",
    "pages",
    "points",
    "read",
    "series",
]
