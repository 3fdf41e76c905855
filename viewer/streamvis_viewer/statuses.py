"""How the runs are doing, asked of the data server while somebody looks, and never more often than need be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from streamvis import Client, StreamvisError
from streamvis_viewer.catalog import Catalog

LEAST_PAUSE = 1.5
"""Seconds between two questions."""
FIRST_WAIT = 1.0
"""Seconds that the first answer is waited for."""


class Statuses:
    """Keeps the status of the catalog's scopes. For the event loop's thread only."""

    def __init__(self, grpc_uri: str, catalog: Catalog) -> None:
        self._grpc_uri = grpc_uri
        self._catalog = catalog
        self._asked = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Somebody looks: asks, unless that was just done. Waits for the answer only if there was none before."""
        never = self._asked == float("-inf")
        if not self._asking and time.monotonic() - self._asked >= LEAST_PAUSE:
            self._asked = time.monotonic()
            self._asking = asyncio.create_task(self._ask())
        if never and self._asking:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._asking), FIRST_WAIT)

    async def _ask(self) -> None:
        try:
            with suppress(StreamvisError):  # the server is away: pages say so, and what was known stays
                self._catalog.take_status((await asyncio.to_thread(_statuses, self._grpc_uri)).items())
        finally:
            self._asking = None


def _statuses(grpc_uri: str) -> Mapping[str, Mapping[str, Any]]:
    with Client(grpc_uri) as client:
        return {
            run.scope: {"status": run.status, "updated": run.updated, "points": run.points, "bytes": run.bytes}
            for run in client.runs()
        }
