"""What this package adds to streamvis; it imports no framework."""

from __future__ import annotations

from streamvis import hookimpl


@hookimpl
def streamvis_adapters() -> dict[str, str]:
    """The logger for a Trainer or Fabric, and the callback for a Trainer."""
    return {
        "lightning": "streamvis_lightning:StreamvisLogger",
        "lightning-callback": "streamvis_lightning:StreamvisCallback",
    }
