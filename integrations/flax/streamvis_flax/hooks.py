"""What this package adds to streamvis; it imports no framework."""

from __future__ import annotations

from streamvis import hookimpl


@hookimpl
def streamvis_adapters() -> dict[str, str]:
    """The callback for a training loop, and the writer for one that uses clu's or flax's."""
    return {"flax": "streamvis_flax:StreamvisCallback", "flax-writer": "streamvis_flax:StreamvisWriter"}
