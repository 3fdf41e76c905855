"""The live layer of machine-learning experiments: log anything, see it while it happens.

Names load when they are first used, so that `import streamvis` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from streamvis.settings import keep_grpc_out_of_forks

if TYPE_CHECKING:
    from streamvis import script as script
    from streamvis.client import Batch, Client, Points, Subscription, Update
    from streamvis.columns import Block, Blocks, Stack
    from streamvis.errors import StreamvisError
    from streamvis.hookspecs import hookimpl
    from streamvis.logger import AsyncDataLogger, DataLogger
    from streamvis.no_sync import assert_no_sync
    from streamvis.plugins import create
    from streamvis.records import Config, Listing, Query, RunInfo, Size, Topic, TopicSize, Usage

keep_grpc_out_of_forks()  # at import, because gRPC looks when it is imported, and any module here may be the first

__version__ = "0.1.0"

__all__ = [
    "AsyncDataLogger",
    "Batch",
    "Block",
    "Blocks",
    "Client",
    "Config",
    "DataLogger",
    "Listing",
    "Points",
    "Query",
    "RunInfo",
    "Size",
    "Stack",
    "StreamvisError",
    "Subscription",
    "Topic",
    "TopicSize",
    "Update",
    "Usage",
    "assert_no_sync",
    "create",
    "hookimpl",
    "script",
]

_HOMES = {
    "AsyncDataLogger": "logger",
    "Batch": "client",
    "Block": "columns",
    "Blocks": "columns",
    "Client": "client",
    "Config": "records",
    "DataLogger": "logger",
    "Listing": "records",
    "Points": "client",
    "Query": "records",
    "RunInfo": "records",
    "Size": "records",
    "Stack": "columns",
    "StreamvisError": "errors",
    "Subscription": "client",
    "Topic": "records",
    "TopicSize": "records",
    "Update": "client",
    "Usage": "records",
    "assert_no_sync": "no_sync",
    "create": "plugins",
    "hookimpl": "hookspecs",
}


def __getattr__(name: str) -> Any:
    if name == "script":
        return importlib.import_module("streamvis.script")
    if name not in _HOMES:
        raise AttributeError(f"module 'streamvis' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"streamvis.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
