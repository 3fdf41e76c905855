"""How to snapshot and bulk-transfer a framework's arrays: one adapter per framework, one contract.

An adapter takes a snapshot when the user writes, in memory that the logger owns and on the device where the array
lives, without waiting for the device. It moves all snapshots of a flush to the host at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from streamvis.arrays.host import HostAdapter
from streamvis.columns import Array
from streamvis.errors import DtypeError

__all__ = ["ArrayAdapter", "HostAdapter", "adapter_for"]


@runtime_checkable
class ArrayAdapter(Protocol):
    """Snapshots of one framework's arrays. Any thread may call it."""

    name: str
    """What `tensor_type` calls it: "numpy", "torch", "jax"."""

    def accepts(self, kind: type) -> bool:
        """Whether values of this type are the adapter's; must not import the framework to find out."""
        ...

    def snapshot(self, value: Any) -> Any:
        """The value as it is now, in memory that nobody else writes. Has `shape` and `nbytes`.

        Raises DtypeError for what cannot be stored. Never waits for a device.
        """
        ...

    def transfer(self, snapshots: Sequence[Any]) -> list[Array]:
        """The snapshots as numpy arrays, in order, moved together."""
        ...


def adapter_for(kind: type, adapters: Sequence[ArrayAdapter]) -> ArrayAdapter:
    """The first adapter that accepts values of this type. Raises DtypeError when there is none."""
    for adapter in adapters:
        if adapter.accepts(kind):
            return adapter
    raise DtypeError(
        f"cannot store a value of type {kind.__module__}.{kind.__qualname__}; expected a number, a bool or an array of "
        f"them ({', '.join(adapter.name for adapter in adapters)})"
    )
