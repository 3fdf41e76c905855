"""What this package adds to streamvis; it imports no framework."""

from __future__ import annotations

from streamvis import hookimpl


@hookimpl
def streamvis_adapters() -> dict[str, str]:
    """The callback for a training loop."""
    return {"flax": "streamvis_flax:StreamvisCallback"}
