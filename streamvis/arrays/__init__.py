"""How to snapshot and bulk-transfer a framework's arrays: one adapter per framework, one contract.

An adapter copies arrays when the user writes, on the device where they live, into memory that the logger owns and
without waiting for the device. A flush moves many such snapshots to the host at once. Arrays in the host's memory need
no adapter: `host_array` copies them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from streamvis.arrays.host import host_array, is_host
from streamvis.columns import Array
from streamvis.errors import DtypeError

__all__ = ["Adapters", "ArrayAdapter", "Form", "host_array"]


@dataclass(frozen=True, slots=True)
class Form:
    """What is known of an array before anyone waits for its data.

    `dtype` is the column's, once stored. `place` is what arrays have in common that one snapshot can hold together,
    such as their device and dtype; None for one that needs a snapshot of its own. `on_host`: it lives in the host's
    memory, whatever framework it belongs to.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    place: Hashable
    nbytes: int
    on_host: bool


@runtime_checkable
class ArrayAdapter(Protocol):
    """Snapshots of one framework's arrays. Any thread may call it, several at once."""

    name: str
    """What `tensor_type` calls it: "torch", "jax"."""

    transfers: int
    """Copies from devices to the host so far."""

    def accepts(self, kind: type) -> bool:
        """Whether values of this type are the adapter's; must not import the framework to find out."""
        ...

    def describe(self, value: Any) -> Form:
        """The value's form. Raises DtypeError for what cannot be stored. Never waits for a device."""
        ...

    def copier(self, forms: Sequence[Form]) -> Callable[[Sequence[Any]], Any | None]:
        """What copies values of these forms, all of one place, into memory that nobody else writes.

        It gives a snapshot for `transfer`, or None when a value is not of its form any more, and raises DtypeError when
        the framework refuses. Never waits for a device, and compiles nothing after the first calls.
        """
        ...

    def transfer(self, runs: Sequence[Sequence[Any]]) -> list[Array]:
        """Moves snapshots to the host, all runs together. The snapshots of a run are of the same forms.

        For each run an array of shape (snapshots, elements): the elements of a snapshot's arrays one after the other,
        each in C order, in the arrays' dtype or one that holds all its values. Raises whatever the framework raises
        when one of them cannot be read; then the caller tries again with fewer.
        """
        ...


class _Lazy:
    """An adapter that core brings, imported when its framework's first array is seen."""

    def __init__(self, framework: str, *classes: str) -> None:
        self.name = framework
        self._classes = classes

    def accepts(self, kind: type) -> bool:
        """Whether it is a type of the framework's arrays; the framework is loaded if there are any."""
        for module, _, name in (f"{self.name}.{path}".rpartition(".") for path in self._classes):
            arrays = getattr(sys.modules.get(module), name, None)
            if arrays is not None and issubclass(kind, arrays):
                return True
        return False

    def load(self) -> ArrayAdapter:
        """The adapter itself."""
        module = importlib.import_module(f"streamvis.arrays.{self.name}")
        return cast("ArrayAdapter", module.Adapter())


class Adapters:
    """Finds the adapter for a value's type, plugins' before core's own; `only` admits one name beside the host's."""

    def __init__(self, plugins: Sequence[ArrayAdapter] = (), only: str | None = None) -> None:
        self._known: list[ArrayAdapter | _Lazy] = [
            *plugins,
            _Lazy("torch", "Tensor"),
            _Lazy("jax", "Array", "core.Tracer"),
        ]
        self._only = only
        self._of: dict[type, ArrayAdapter | None] = {}

    @property
    def names(self) -> list[str]:
        """What `only` may be."""
        return ["numpy", *dict.fromkeys(adapter.name for adapter in self._known)]

    @property
    def transfers(self) -> int:
        """Copies from devices to the host so far."""
        return sum(adapter.transfers for adapter in self._known if not isinstance(adapter, _Lazy))

    def know(self, kind: type, adapter: ArrayAdapter) -> None:
        """Uses that adapter for values of this type, whatever `only` says."""
        self._of[kind] = adapter

    def of(self, kind: type) -> ArrayAdapter | None:
        """The adapter for values of this type, None for the host's own. Raises DtypeError when there is neither."""
        try:
            return self._of[kind]
        except KeyError:
            return self._of.setdefault(kind, self._find(kind))

    def _find(self, kind: type) -> ArrayAdapter | None:
        place = next((place for place, adapter in enumerate(self._known) if adapter.accepts(kind)), None)
        if place is not None:
            return self._admitted(place)
        if is_host(kind):
            return None
        raise DtypeError(
            f"is a {kind.__module__}.{kind.__qualname__}; expected a number, a bool, or an array of them "
            f"({', '.join(self.names)}, or whatever has __array__ or __dlpack__)"
        )

    def _admitted(self, place: int) -> ArrayAdapter:
        adapter = self._known[place]
        if self._only not in (None, adapter.name):
            raise DtypeError(
                f"is a {adapter.name} array, and this logger has tensor_type={self._only!r}; "
                "tensor_type=None admits every kind"
            )
        if isinstance(adapter, _Lazy):
            adapter = self._known[place] = adapter.load()
        return adapter
