"""Where points are kept: the Store interface and its engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from streamvis.errors import PluginError, UsageError
from streamvis.storage.base import Catalog, Commit, Page, Store, Submission
from streamvis.storage.memory import MemoryStore
from streamvis.storage.sqlite import SqliteStore

__all__ = ["Catalog", "Commit", "MemoryStore", "Page", "SqliteStore", "Store", "Submission", "open_store"]


def open_store(data_prefix: str, schemes: Mapping[str, Callable[[str], Store]] = MappingProxyType({})) -> Store:
    """The store that a data prefix names.

    A path prefix is SQLite at `<prefix>.sqlite`; `memory:` keeps nothing after the end; `scheme://…` is what `schemes`
    has under that scheme, called with the whole URL. Raises UsageError or PluginError for what names no store,
    StoreError if the data cannot be used.
    """
    if data_prefix == "memory:":
        return MemoryStore()
    scheme, separator, _ = data_prefix.partition("://")
    if separator:
        return _engine(scheme, schemes)(data_prefix)
    if not data_prefix or data_prefix.endswith("/"):
        raise UsageError(f"data prefix {data_prefix!r} names no file; expected a path such as data/runs")
    return SqliteStore(data_prefix)


def _engine(scheme: str, schemes: Mapping[str, Callable[[str], Store]]) -> Callable[[str], Store]:
    if scheme in schemes:
        return schemes[scheme]
    if scheme in {"postgresql", "postgres"}:
        raise PluginError(
            f"the engine of {scheme}:// URLs comes with an extra that is not installed; use a path prefix for SQLite"
        )
    known = ", ".join(f"{name}://" for name in sorted(schemes))
    raise PluginError(
        f"no store is installed for {scheme}://; expected a path prefix or memory:{known and f', {known}'}"
    )
