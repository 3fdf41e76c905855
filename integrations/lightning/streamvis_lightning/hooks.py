"""What this package adds to streamvis; it imports no framework."""

from __future__ import annotations

from streamvis import hookimpl


@hookimpl
def streamvis_adapters() -> dict[str, str]:
    """The logger for a Trainer or Fabric."""
    return {"lightning": "streamvis_lightning:StreamvisLogger"}
