"""Items that lie under ranges of indexes, gathered by range, where those that share an index must keep their order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, ValuesView
from typing import Generic, TypeVar

T = TypeVar("T")


class Runs(Generic[T]):
    """Lists of items by (first index, k). A run ends, and `close` gets it, where another one would overlap it."""

    def __init__(self, close: Callable[[list[T]], object]) -> None:
        self._close = close
        self._runs: dict[tuple[int, int], list[T]] = {}
        self._keys: list[tuple[int, int]] = []  # sorted; their indexes do not overlap

    def of(self, index: int, k: int) -> list[T]:
        """The run that the next item of these indexes belongs to."""
        key = index, k
        run = self._runs.get(key)
        return self._open(key) if run is None else run

    def _open(self, key: tuple[int, int]) -> list[T]:
        index, k = key
        first = bisect_left(self._keys, key)
        if first and sum(self._keys[first - 1]) > index:
            first -= 1
        last = first
        while last < len(self._keys) and self._keys[last][0] < index + k:
            self._close(self._runs.pop(self._keys[last]))
            last += 1
        self._keys[first:last] = [key]
        return self._runs.setdefault(key, [])

    def values(self) -> ValuesView[list[T]]:
        """The runs that have not ended."""
        return self._runs.values()
